"""What several theorems are tried on: an oscillator, small networks."""
