"""Encoders: one modality's input in, features out."""
