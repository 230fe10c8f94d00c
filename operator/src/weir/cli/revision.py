"""What did files hold at a Git revision?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from weir.cli.documents import STDIN, SUFFIXES, Document, read_found, read_text

MERGE_BASE = "..."
"""At a revision's end: not the revision itself, but where the present branch left it."""
REGULAR = ("100644", "100755")
"""Modes of files; links and submodules are neither (git-fast-import, "filemodify")."""


class RevisionError(RuntimeError):
    """Git can't tell; the message says why and what to do."""


@dataclass(frozen=True)
class Revision:
    """Files at a revision, and those of the working tree beside them.

    Parameters
    ----------
    name
        The commit in short.
    before, after
        The documents at the revision and in the working tree.
    uncommitted
        Files of the working tree that are not as in its newest commit.
    """

    name: str
    before: tuple[Document, ...]
    after: tuple[Document, ...]
    uncommitted: int


def compare(ref: str, paths: Sequence[Path]) -> Revision:
    """The documents of paths at a revision and now.

    Parameters
    ----------
    ref
        A branch, a tag, a commit, or one of these and ``...`` for the merge base with ``HEAD``.
    paths
        Files and folders of one repository. A path may exist on one side alone; files that Git
        ignores are left out of folders.

    Raises
    ------
    RevisionError
        There is no Git, no repository or no such revision, or a path is on neither side.
    """
    if any(str(path) == STDIN for path in paths):
        raise RevisionError(
            "--diff compares files of a repository; standard input has no former revision"
        )
    root = _root(paths)
    commit = _commit(root, ref)
    names = [_relative(root, path) for path in paths]
    before: list[Document] = []
    after: list[Document] = []
    for path, name in zip(paths, names, strict=True):
        former = list(_files_at(root, commit, name))
        now = list(_files_now(root, path, name))
        if not former and not now and not path.exists():
            raise RevisionError(f"{path} exists neither in the working tree nor at {ref}")
        texts = zip(former, _contents(root, [f"{commit}:{one}" for one in former]), strict=True)
        named = [name] == former or path.is_file()
        for file, text in texts:
            before += (read_text if named else read_found)(text, f"{ref}:{file}")
        for file in now:
            text = (root / file).read_text(errors="replace")
            after += (read_text if named else read_found)(text, file)
    status = _git(root, "status", "--porcelain", "-z", "--", *(name or "." for name in names))
    short = _git(root, "rev-parse", "--short", commit).decode().strip()
    return Revision(
        short,
        tuple(before),
        tuple(after),
        sum(1 for one in status.split(b"\0") if one[2:3] == b" "),
    )


def _root(paths: Sequence[Path]) -> Path:
    roots = set()
    for path in paths:
        folder = path.resolve()
        while not folder.is_dir():
            folder = folder.parent
        found = _git(folder, "rev-parse", "--show-toplevel").decode().strip()
        roots.add(Path(found))
    if len(roots) > 1:
        names = ", ".join(sorted(map(str, roots)))
        raise RevisionError(f"--diff takes paths of one repository; these are of {names}")
    return roots.pop()


def _commit(root: Path, ref: str) -> str:
    name = ref.removesuffix(MERGE_BASE)
    try:
        found = _git(
            root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        )
    except RevisionError as error:
        raise RevisionError(
            f"{name!r} is no branch, tag or commit of {root}. A shallow or single-branch clone may "
            "lack it: fetch it first (git fetch origin <branch>; in GitHub Actions fetch-depth: 0)"
        ) from error
    commit = found.decode().strip()
    if not ref.endswith(MERGE_BASE):
        return commit
    try:
        return _git(root, "merge-base", commit, "HEAD").decode().strip()
    except RevisionError as error:
        raise RevisionError(
            f"{name!r} and HEAD have no common commit here: fetch more of the history "
            "(git fetch --unshallow)"
        ) from error


def _relative(root: Path, path: Path) -> str:
    relative = PurePosixPath(path.resolve().relative_to(root.resolve()).as_posix())
    return "" if str(relative) == "." else str(relative)


def _files_at(root: Path, commit: str, name: str) -> Iterator[str]:
    listing = _git(
        root, "ls-tree", "-r", "-z", "--full-tree", commit, *(["--", name] if name else [])
    )
    for line in filter(None, listing.split(b"\0")):
        head, _, file = line.decode(errors="surrogateescape").partition("\t")
        if head.split()[0] in REGULAR and _wanted(file, name):
            yield file


def _files_now(root: Path, path: Path, name: str) -> Iterator[str]:
    if path.is_file():
        yield name
        return
    listing = _git(
        root,
        "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate",
        "--", name or ".",
    )  # fmt: skip
    for file in sorted(filter(None, listing.decode(errors="surrogateescape").split("\0"))):
        if _wanted(file, name) and (root / file).is_file() and not (root / file).is_symlink():
            yield file


def _wanted(file: str, name: str) -> bool:
    """Whether a file of a listing counts: it was named, or may hold objects and is not hidden."""
    if file == name:
        return True
    below = PurePosixPath(file).relative_to(name) if name else PurePosixPath(file)
    hidden = any(part.startswith(".") for part in below.parts)
    return below.suffix in SUFFIXES and not hidden


def _contents(root: Path, names: Sequence[str]) -> Iterator[str]:
    """The text of blobs, in order; one call for all of them."""
    if not names:
        return
    asked = "".join(f"{name}\n" for name in names).encode(errors="surrogateescape")
    answer = _git(root, "cat-file", "--batch", stdin=asked)
    at = 0
    for _ in names:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].rpartition(b" ")[2])
        yield answer[end + 1 : end + 1 + size].decode(errors="replace")
        at = end + 2 + size


def _git(folder: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    # Git's own lock for a refreshed index is not ours to take.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            env=environment,
        )
    except FileNotFoundError as error:
        raise RevisionError("--diff needs git, which is not installed") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        if "not a git repository" in said:
            raise RevisionError(f"{folder} is in no Git repository, so --diff has nothing to ask")
        raise RevisionError(said or f"git {arguments[0]} failed")
    return done.stdout
