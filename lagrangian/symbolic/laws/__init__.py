"""Noether's theorem, and the symmetries that a theory turns out to have."""
