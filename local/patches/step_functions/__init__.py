"""Step Functions, as on AWS."""
