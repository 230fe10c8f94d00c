"""A build's folder as an operator under test needs it: code that does nothing, and its index."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path

FILES = {
    "functions": "functions.zip",
    "files": "files.zip",
    "streams": "streams.zip",
    "glue": "glue.zip",
    "glueScript": "process.py",
}


def empty_build(folder: Path) -> Path:
    """Write the files and ``artifacts.json`` into a folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, file in FILES.items():
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
