"""Loaders: batches to train on in random order and to evaluate on in order, from arrays, files or shards."""
