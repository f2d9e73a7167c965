"""Account: close the books of a bulk object, and judge it as a whole."""
