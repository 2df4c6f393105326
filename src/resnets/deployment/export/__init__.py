"""Export: a network as a file for a runtime, left only where the runtime agrees with PyTorch."""
