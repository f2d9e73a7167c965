"""How commands talk to people: console, options, help, times, signals."""
