"""Reading the audit bucket: ledger files, dead letters, and what they say of an object."""
