"""A study from its first check to its table, and what else the command line offers."""
