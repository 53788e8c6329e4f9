"""A learning rule read from the code of an optax transformation."""
