"""From names to a trained and tested method."""
