"""Work done ahead by threads and processes that may die: batches made row by row, and hostile files examined."""
