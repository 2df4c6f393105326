"""Quantization after training: eight-bit integers within a measured budget of accuracy."""
