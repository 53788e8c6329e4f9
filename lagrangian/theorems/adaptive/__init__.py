"""Adaptive step sizes, written and implicit."""
