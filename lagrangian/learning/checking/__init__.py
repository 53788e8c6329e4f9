"""Laws against runs: predictions, measures, verdicts."""
