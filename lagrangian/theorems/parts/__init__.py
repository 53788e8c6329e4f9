"""What theorems are made of, beside the file of each: networks, runs, derivations."""
