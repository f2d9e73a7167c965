"""What is written to the audit bucket: ledger files and dead letters."""
