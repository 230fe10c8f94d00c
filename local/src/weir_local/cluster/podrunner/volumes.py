"""A pod's volumes as directories of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weir_local.cluster.podrunner.values import Lookup, NotThere, contents, field

Object = dict[str, Any]
Token = Callable[[Object], str]


def materialise(pod: Object, volume: Object, root: Path, lookup: Lookup, token: Token) -> Path:
    """Make or refresh one volume.

    Parameters
    ----------
    pod, volume
        As the API has them.
    root
        The directory of the pod's volumes.
    lookup
        Reads ConfigMaps and Secrets.
    token
        Gives a token for a ``serviceAccountToken`` source.

    Returns
    -------
    Path
        The directory or file to mount.

    Raises
    ------
    NotThere
        It refers to something that is missing, or is of a kind that this runner does not know.
    """
    if "hostPath" in volume:
        return _host_path(volume["hostPath"])
    directory: Path = root / str(volume["name"])
    directory.mkdir(parents=True, exist_ok=True)
    if "emptyDir" in volume:
        return directory
    files = _files(pod, volume, lookup, token)
    for name, data in files.items():
        _replace(directory / name, data)
    for path in [path for path in directory.rglob("*") if path.is_file()]:
        if str(path.relative_to(directory)) not in files:
            path.unlink()
    return directory


def changing(volume: Object) -> bool:
    """Whether what a volume holds changes while the pod runs: tokens expire, maps are edited."""
    return any(kind in volume for kind in ("projected", "configMap", "secret"))


def remove(root: Path) -> None:
    """Remove a pod's directory; what is gone already is no error."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(root)


def _files(pod: Object, volume: Object, lookup: Lookup, token: Token) -> dict[str, bytes]:
    if "projected" in volume:
        files: dict[str, bytes] = {}
        for source in volume["projected"].get("sources", ()):
            files |= _source(pod, source, lookup, token)
        return files
    for kind, reference in volume.items():
        if kind in ("configMap", "secret"):
            named = {**reference, "name": reference.get("secretName") or reference.get("name")}
            return _source(pod, {kind: named}, lookup, token)
        if kind == "downwardAPI":
            return _source(pod, {kind: reference}, lookup, token)
    kinds = ", ".join(key for key in volume if key != "name")
    raise NotThere(
        f'volume "{volume["name"]}" is of a kind that runs in a real cluster only: {kinds}'
    )


def _source(pod: Object, source: Object, lookup: Lookup, token: Token) -> dict[str, bytes]:
    if "serviceAccountToken" in source:
        request = source["serviceAccountToken"]
        return {request["path"]: token(request).encode()}
    if "downwardAPI" in source:
        items = source["downwardAPI"].get("items", ())
        return {
            item["path"]: field(pod, item["fieldRef"]["fieldPath"]).encode()
            for item in items
            if "fieldRef" in item
        }
    for key, kind in (("configMap", "configmaps"), ("secret", "secrets")):
        if key in source:
            reference = source[key]
            entries = contents(kind, reference["name"], reference.get("optional", False), lookup)
            if reference.get("items"):
                return {item["path"]: entries[item["key"]] for item in reference["items"]}
            return entries
    raise NotThere(f"a projected source that runs in a real cluster only: {', '.join(source)}")


def _host_path(source: Object) -> Path:
    path: Path = Path(str(source["path"]))
    kind = source.get("type", "")
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch()
    if not path.exists():
        raise NotThere(f"hostPath {path} is not there")
    return path


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new whole; leave an equal one alone."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_bytes(data)
    partial.replace(path)
