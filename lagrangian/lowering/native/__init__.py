"""Small programs on scalars as machine code, where XLA's loops cost more than they do."""
