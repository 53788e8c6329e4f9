"""What depth and data have of symmetries: a gauge of layers, orbits of inputs."""
