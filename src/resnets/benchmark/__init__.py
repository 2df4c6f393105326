"""Speed and memory of a network in every engine, beside its peers and the machine's limits."""
