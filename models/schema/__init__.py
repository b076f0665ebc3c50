"""What can be named in a study, read from source without importing it."""
