"""One training step and what stands around it: objective, precision, averages."""
