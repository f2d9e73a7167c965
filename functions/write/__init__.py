"""Write: deliver the records of a batch, then book what became of each."""
