"""Lands a REST source in the raw zone."""
