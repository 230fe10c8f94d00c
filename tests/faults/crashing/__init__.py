"""Kill the operator wherever it speaks to AWS, restart it, and compare the worlds."""
