"""Runs carried out on a Ray cluster."""
