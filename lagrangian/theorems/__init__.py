"""Results of the theory by chapter: statement, prediction and measurement."""
