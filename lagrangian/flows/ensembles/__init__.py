"""Many members at once, and what is kept of them."""
