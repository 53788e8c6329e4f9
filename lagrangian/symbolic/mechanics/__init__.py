"""Kinds of theory: Lagrangians, Hamiltonians, constraints, fields."""
