"""Which minimum symmetry, noise and weight decay choose, and when it changes."""
