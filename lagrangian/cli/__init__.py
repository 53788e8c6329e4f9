"""The command line: one module a command, or a pair of them."""
