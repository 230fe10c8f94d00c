"""Entry points that Glue runs."""
