"""Change rows by steps, SQL and scripts."""
