"""What every room builds on: errors, files, safe reading of pickles, and the one place that knows the machine. Imports no other room."""
