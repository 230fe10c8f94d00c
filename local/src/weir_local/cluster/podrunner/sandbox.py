# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH120, PTH123, PTH208, PTH211
# Importing pathlib would double the time that each start takes.
"""Starts a container's command in a mount namespace of its own: ``python sandbox.py MOUNTS CMD...``.

``MOUNTS`` is a JSON list of ``{"source", "target", "readOnly"}``. Uses the standard library alone and
is run as a file, since every container starts through it. As root it needs no user namespace; else
it makes one in which the user keeps the own id (unshare(2), user_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
KEPT = 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime: as in statvfs(3)
# What the caller sees where a system forbids namespaces: the caller falls back to files.
FORBIDDEN_EXIT_CODE = 213


def main() -> None:
    """Mount, then become the command."""
    mounts, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        enter_namespace()
        mount_all(mounts)
    except OSError as error:
        print(f"cannot mount the pod's volumes: {error}", file=sys.stderr, flush=True)
        raise SystemExit(FORBIDDEN_EXIT_CODE) from error
    if not command:
        return
    try:
        os.execvpe(command[0], command, os.environ)
    except OSError as error:
        print(f"exec {command[0]!r}: {error.strerror}", file=sys.stderr, flush=True)
        raise SystemExit(127) from error


def enter_namespace() -> None:
    """Give this process mounts of its own.

    Raises
    ------
    OSError
        The system forbids it.
    """
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _call("unshare", CLONE_NEWNS)
    else:
        _call("unshare", CLONE_NEWNS | CLONE_NEWUSER)
        for file, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{file}", "w") as handle:
                handle.write(text)
    _mount("none", "/", MS_REC | MS_PRIVATE)


def mount_all(mounts: list[dict[str, object]]) -> None:
    """Bind each source to its target, outer targets first.

    Sources are opened before anything is mounted, since a mount may hide one of them.
    """
    ordered = sorted(mounts, key=lambda mount: str(mount["target"]).count("/"))
    opened = [(os.open(str(mount["source"]), os.O_PATH), mount) for mount in ordered]
    for handle, mount in opened:
        source, target = f"/proc/self/fd/{handle}", os.path.realpath(str(mount["target"]))
        _ensure(target, directory=os.path.isdir(source))
        _mount(source, target, MS_BIND | MS_REC)
        if mount.get("readOnly"):
            # A user namespace may not drop what its mounts are locked to (mount_namespaces(7)).
            kept = os.statvfs(target).f_flag & KEPT
            _mount("none", target, MS_BIND | MS_REMOUNT | MS_RDONLY | kept)
    for handle, _ in opened:
        os.close(handle)


def _ensure(target: str, *, directory: bool) -> None:
    """Make a mount point that is missing, without writing to the machine's own file system.

    The nearest directory that exists is covered by an empty one in which everything that was there
    is mounted again; the mount point is then made in that.
    """
    if os.path.exists(target):
        return
    ancestor = os.path.dirname(target)
    while not os.path.isdir(ancestor):
        ancestor = os.path.dirname(ancestor)
    if ancestor == "/":
        raise OSError(0, f"{target} has no directory on this machine to be mounted in")
    if not _is_cover(ancestor):
        handle = os.open(ancestor, os.O_PATH)
        old = f"/proc/self/fd/{handle}"
        names = os.listdir(old)
        _mount("tmpfs", ancestor, 0, "tmpfs")
        for name in names:
            inner, outer = f"{old}/{name}", f"{ancestor}/{name}"
            if os.path.islink(inner):
                os.symlink(os.readlink(inner), outer)
                continue
            if os.path.isdir(inner):
                os.mkdir(outer)
            else:
                os.close(os.open(outer, os.O_CREAT))
            _mount(inner, outer, MS_BIND | MS_REC)
        os.close(handle)
        _covers.add(ancestor)
    if directory:
        os.makedirs(target)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT))


_covers: set[str] = set()


def _is_cover(directory: str) -> bool:
    """Whether a directory is on one of the covers made here, and may be written to."""
    return any(directory == cover or directory.startswith(f"{cover}/") for cover in _covers)


def _mount(source: str, target: str, flags: int, kind: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode() or None, flags, None)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
