"""DeadLetter: book what failed, then fail the execution with its true error."""
