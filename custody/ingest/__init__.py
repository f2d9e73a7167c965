"""Bringing objects in: upload, watch, backfill."""
