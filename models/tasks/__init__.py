"""Tasks: what is minimised, what is predicted, what is measured."""
