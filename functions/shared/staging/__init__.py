"""How records travel between steps: inline, or staged in a bucket."""
