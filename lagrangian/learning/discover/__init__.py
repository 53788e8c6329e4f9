"""Finding the symmetries of a network's loss by linear algebra on its gradients."""
