"""S3, as on AWS."""
