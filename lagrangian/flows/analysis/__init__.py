"""What is asked of a flow besides its paths: sections and exponents."""
