"""The command line of an operator of Custody; it talks to AWS APIs only, so it works the same on embedded AWS."""
