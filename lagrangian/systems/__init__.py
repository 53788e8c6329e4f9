"""Ready-made mechanical systems, and systems from files."""
