"""Field theories on a grid as flows, and their paths."""
