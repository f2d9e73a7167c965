"""DeadLetter: tell of what failed and fail with its true error; after a redrive, let the batch go on."""
