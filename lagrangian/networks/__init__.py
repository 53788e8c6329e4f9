"""Networks and data for examples, tests and theorems, or a user's own."""
