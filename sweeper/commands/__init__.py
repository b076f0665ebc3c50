"""What `sweeper` does: a file for each group of commands, each with what it is asked and how it is carried out."""
