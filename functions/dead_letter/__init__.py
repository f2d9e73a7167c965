"""DeadLetter: record a failure and raise the original error; after a redrive, let the batch resume."""
