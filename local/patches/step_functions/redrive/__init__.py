"""RedriveExecution, as on AWS."""
