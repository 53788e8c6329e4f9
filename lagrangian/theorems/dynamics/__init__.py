"""How charges move while a network learns."""
