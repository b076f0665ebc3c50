"""Mathematics that methods share: pure functions, and modules that hold nothing but state."""
