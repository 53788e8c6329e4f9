"""Lowered Lagrangians as flows: integration, trajectories."""
