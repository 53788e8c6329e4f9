"""The version, in a file of its own so that a build can read it unimported."""

__version__ = "0.2.0"
