"""Objects to try Custody with, and the script that sends them."""
