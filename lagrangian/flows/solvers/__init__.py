"""Solvers that can stand in for each other, and what they share."""
