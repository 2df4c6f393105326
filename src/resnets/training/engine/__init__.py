"""One training step and what is around it: objective, precision, averages."""
