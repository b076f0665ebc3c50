"""Fusions: features of all modalities in, logits out."""
