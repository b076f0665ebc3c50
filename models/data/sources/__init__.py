"""Datasets, one file each; the file's name is the dataset's name in a study."""
