"""What all functions share: messages, errors, the ledger, and the one door to AWS."""
