"""The science: datasets, encoders, fusions, methods, metrics and the one training loop."""
