"""Knowing what a data set holds: the named ones, and a user's own folders, CSV lists and shards. Importing it loads no torch."""
