"""Distributed Map, as on AWS."""
