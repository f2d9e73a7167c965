"""Summarize: close the ledger of a bulk object, and judge it as a whole."""
