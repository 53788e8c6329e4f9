"""What XLA does not do well by itself: fused loops, sines, linear solves."""
