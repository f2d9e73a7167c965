"""Executions and their histories, as on AWS."""
