"""What learning conserves, and how much of it."""
