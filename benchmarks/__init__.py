"""How fast the three stages are, beside a floor and beside what one would write instead: `make bench`."""
