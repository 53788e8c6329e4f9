"""Small programs on scalars as machine code, where loops of XLA cost more."""
