"""Finding, bringing up and destroying a deployment."""
