"""AWS on bad days, and an operator that is killed at any moment."""
