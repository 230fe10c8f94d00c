"""Puts records into the raw zone: parts, then the manifest that commits them. Every source lands this way."""
