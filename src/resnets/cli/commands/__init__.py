"""The commands, a module each; every one has a `COMMAND`, see `cli.command`."""
