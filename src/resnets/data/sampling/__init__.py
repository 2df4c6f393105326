"""Which images each step takes, and its random numbers: pure functions of seed, epoch and step. Importing it loads no torch."""
