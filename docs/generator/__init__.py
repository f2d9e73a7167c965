"""Generate what documents repeat from code: `make docs`. A test fails when a document differs from what this writes."""
