"""Joint training: the reference that every other method is a difference from."""

from models.method import Method


class Joint(Method):
    """Cross-entropy of the fused prediction, all parameters at once (the papers' Concat, Sum, … baselines)."""
