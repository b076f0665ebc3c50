"""Noise: what can be done to a sample, and the named conditions that say to which."""
