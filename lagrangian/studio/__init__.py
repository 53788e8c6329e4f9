"""A page in the browser: derive, simulate, verify."""
