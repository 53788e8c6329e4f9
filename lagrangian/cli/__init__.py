"""The command line: `lagrangian demo`, `simulate`, `list` and `verify`."""
