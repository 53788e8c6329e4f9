"""Ready-made systems for examples, tests and the command line."""
