"""Derivation: coordinates, Lagrangians, symmetries and Noether laws, in SymPy alone."""
