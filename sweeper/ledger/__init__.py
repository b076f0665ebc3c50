"""What is written down: the ledger, the folders beside it, and a study as they tell it."""
