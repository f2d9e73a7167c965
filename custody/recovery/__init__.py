"""Processing again what failed, or discarding it."""
