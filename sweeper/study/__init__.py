"""The study file, unfolded into arms and runs."""
