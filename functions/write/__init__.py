"""Write: deliver the records of a batch, then commit what became of each."""
