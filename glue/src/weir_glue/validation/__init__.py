"""Check rows against DQDL rules in a single pass."""
