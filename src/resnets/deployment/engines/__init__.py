"""Engines: one contract for every runtime, and `open_engine`, which chooses one."""
