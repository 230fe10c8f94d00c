"""Redshift, Redshift Serverless and the Redshift Data API, which MiniStack does not have."""

from __future__ import annotations

import os
from pathlib import Path


def install() -> None:
    """Add the three services, backed by :mod:`weir_local.redshift`, with their IAM actions."""
    from weir_local import redshift

    redshift.install(
        Path(os.environ["WEIR_LOCAL_STATE"]) / "redshift", os.environ["AWS_ENDPOINT_URL"]
    )


def uninstall() -> None:
    """Stop running statements and close the files."""
    from weir_local import redshift

    redshift.shutdown()
