"""Learning rules, one family a file: Lagrangian, flows, exact law and optax twin."""
