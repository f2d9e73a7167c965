"""Write: deliver the records of a batch, then commit the outcome of each."""
