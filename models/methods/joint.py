"""Joint training: the reference that every other method is a difference from."""

from sweeper.models.method import Method


class Joint(Method):
    """The task's loss of the fused prediction, all parameters at once (the papers' Concat, Sum, … baselines)."""

    tasks = ("classification", "multilabel", "regression", "segmentation")
