"""The graph of a network that other runtimes run, and what its file says of it."""
