"""Transform: each record into the form in which it is delivered."""
