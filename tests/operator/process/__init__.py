"""The operator as a process."""
