"""Figures of a finished study that need more than its numbers: the weights or the predictions of its final runs."""
