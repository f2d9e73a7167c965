"""EventBridge and SQS, as on AWS."""
