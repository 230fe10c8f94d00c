"""What a whole installation stands on: the operator's user and policies, a warehouse, its code."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from weir_local.aws import bootstrap
from weir_local.aws.server import ACCOUNT, LocalAws
from weir_local.stack import BOUNDARY, BOUNDARY_FILE, published_policies

CODE = {"functions": "functions.zip", "glue": "glue.zip", "glueScript": "process.py"}


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


def artifacts(folder: Path) -> Path:
    """A build's folder: the code does nothing, but is there."""
    folder.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, file in CODE.items():
        content = f"# {name}\n".encode()
        if file.endswith(".zip"):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(zipfile.ZipInfo("weir_lambdas/__init__.py"), content)
            content = buffer.getvalue()
        (folder / file).write_bytes(content)
        digest = hashlib.sha256(content)
        code = base64.b64encode(digest.digest()).decode()
        index[name] = {"file": file, "sha256": digest.hexdigest(), "codeSha256": code}
    (folder / "artifacts.json").write_text(json.dumps(index))
    return folder
