"""Training runs under observation: steps, records, checkpoints."""
