"""The Lambda functions of Custody; each is deployed with its own folder and `shared/` alone."""
