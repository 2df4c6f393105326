"""Batch norms in training: synchronised over processes, and fused with what follows them."""
