"""What expressions are made of: symbols, blocks, derivatives, generators."""
