"""Linear algebra over exact function rings, and the check of its answers."""
