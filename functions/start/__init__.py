"""Start: an S3 event becomes executions."""
