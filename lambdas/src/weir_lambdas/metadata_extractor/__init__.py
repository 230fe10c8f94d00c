"""Measures what was landed, keeps what was ever seen of a source's shape, and takes what crawlers find."""
