"""Lambda, as on AWS."""
