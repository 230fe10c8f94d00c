"""Turns landed manifests into passes of the pipelines that read them: single flight, then drain."""
