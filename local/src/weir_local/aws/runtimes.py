"""What Lambda's and Glue's Python have installed, and nothing else of this machine's.

A function or a job that forgets to bring a library must fail here as it fails on AWS, so its
interpreter sees the standard library and a directory with links to the runtime's own packages.
Lambda Developer Guide, "Runtime-included SDK versions"; Glue Developer Guide, "Python modules
already provided in AWS Glue".
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

SDK = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
LAMBDA = SDK
GLUE = (*SDK, "numpy", "pandas", "py4j", "pyarrow", "pyspark", "tzdata")


def top_levels(distribution: str) -> set[Path]:
    """The files and directories in site-packages that a distribution consists of."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return set()
    tops = set()
    for file in found.files or []:
        if file.parts[0] not in ("..", "__pycache__", "."):
            root = Path(str(found.locate_file("")))
            tops.add(root / file.parts[0])
    return tops


def site(directory: Path, distributions: tuple[str, ...]) -> Path:
    """A directory with links to some of the installed distributions.

    :param directory: made if absent, brought up to date if present
    :param distributions: names as on the package index; absent ones are left out
    """
    directory.mkdir(parents=True, exist_ok=True)
    for distribution in distributions:
        for target in top_levels(distribution):
            link = directory / target.name
            if link.is_symlink() and link.readlink() == target:
                continue
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return directory


def interpreter(path: Path, packages: Path) -> Path:
    """An executable that runs this Python without its site-packages.

    :param path: where to write it
    :param packages: the directory from :func:`site`
    """
    path.write_text(
        f'#!/bin/sh\nexport SSL_CERT_FILE="{authorities()}"\n'
        f'PYTHONPATH="$PYTHONPATH:{packages}" exec "{sys.executable}" -S "$@"\n'
    )
    path.chmod(0o755)
    return path


def authorities() -> Path:
    """The file of the authorities that functions and jobs trust."""
    return state() / "authorities.pem"


def state() -> Path:
    """The local AWS's own directory."""
    return Path(os.environ["WEIR_LOCAL_STATE"])
