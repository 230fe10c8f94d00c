"""What a whole installation stands on: the operator's user and policies, a warehouse, its code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weir_local.aws import bootstrap
from weir_local.aws.server import ACCOUNT, LocalAws
from weir_local.stack import BOUNDARY, BOUNDARY_FILE, published_policies


def operators(aws: LocalAws, folder: Path) -> dict[str, Any]:
    """Bootstrap the account as docs/ tell a user to.

    :returns: what bootstrap wrote down, with ``account``, ``region`` and ``boundary``
    """
    policies = published_policies(ACCOUNT, aws.region)
    boundary = policies.pop(BOUNDARY_FILE)
    path = bootstrap.bootstrap(aws.endpoint, aws.region, folder, policies, {BOUNDARY: boundary})
    found: dict[str, Any] = json.loads(path.read_text())
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}"
    return {**found, "account": ACCOUNT, "region": aws.region, "boundary": arn}
