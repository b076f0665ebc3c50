"""Train-time augmentation: what may be done to the inputs of training rows, never to those that are evaluated."""
