"""Frozen, pure values: messages, ids, keys, chunking."""
