"""Tidy values, keep one row for each key, protect personal data."""
