"""Learning rules as kinetic energies, and training runs that their laws certify."""
