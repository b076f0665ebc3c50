"""Readers of raw files, which keep what they derive as arrays."""
