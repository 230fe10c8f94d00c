"""Weir's Kubernetes API."""
