"""The ``weir`` command, also ``kubectl weir``."""

from weir.cli.app import app

__all__ = ["app"]
