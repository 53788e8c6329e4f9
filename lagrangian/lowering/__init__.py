"""SymPy expressions to JAX functions."""
