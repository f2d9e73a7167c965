"""From bytes to records: JSON, JSON Lines, gzip."""
