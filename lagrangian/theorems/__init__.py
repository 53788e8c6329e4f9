"""Results of the theory, one file each: statement, prediction and measurement."""
