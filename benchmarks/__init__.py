"""Speed and memory of the three stages, beside a floor and beside an implementation with Powertools: `make bench`."""
