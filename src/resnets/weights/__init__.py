"""Model files, and weights from and to other libraries."""
