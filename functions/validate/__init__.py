"""Validate: which records of an object keep their contract."""
