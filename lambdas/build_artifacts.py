"""Builds the artifacts that run on AWS: reproducibly, so that equal code has an equal name.

``python lambdas/build_artifacts.py --out dist/artifacts`` writes ``functions.zip``, ``files.zip``,
``streams.zip``, ``glue.zip``, ``process.py`` and their index ``artifacts.json``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip entry can have: every entry's time."""

MODE = 0o644 << 16
SKIPPED_DIRECTORIES = {"__pycache__", "bin"}
SKIPPED_SUFFIXES = {".pyc", ".pyi", ".pyx", ".pxd", ".pxi", ".h", ".cc", ".lib"}
SKIPPED_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", ".lock", "uv_cache.json"}
"""What an installer writes of itself, which differs from machine to machine."""

PLATFORMS = ("host", "x86_64-manylinux2014", "aarch64-manylinux2014")

FUNCTION_DEPENDENCIES = (
    "aws-lambda-powertools",
    "typing-extensions",
    "urllib3",
    "isal",
    "msgspec",
    "defusedxml",
    "backports-zstd",
)
"""Not sure to be in the Lambda runtime in a version that we can use; boto3 is, and with it jmespath."""

SIGNING_DEPENDENCIES = ("cryptography", "cffi")
"""What signs the tokens of APIs."""

FILE_DEPENDENCIES = (
    "brotli",
    "cramjam",
    "fastavro",
    "inflate64",
    "lz4",
    "multivolumefile",
    "psutil",
    "py7zr",
    "pyarrow",
    "pybcj",
    "pycryptodomex",
    "pyppmd",
    "python-calamine",
    "pyzipper",
    "texttable",
)
"""What reads files and mails, beside what every function has."""

STREAM_DEPENDENCIES = (
    "cramjam",
    "crc32c",
    "fastavro",
    "kafka-python",
    "lz4",
    "protobuf",
    "python-snappy",
)
"""What reads streams, beside what every function has."""

UNUSED = (
    "aws_lambda_powertools/event_handler/",
    "aws_lambda_powertools/utilities/auth_alpha/",
    "aws_lambda_powertools/utilities/data_classes/",
    "aws_lambda_powertools/utilities/idempotency/",
    "aws_lambda_powertools/utilities/kafka/",
    "aws_lambda_powertools/utilities/parameters/",
    "aws_lambda_powertools/utilities/parser/",
    "pyarrow/include/",
    "pyarrow/includes/",
    "pyarrow/src/",
    "pyarrow/tests/",
    "pyarrow/interchange/",
    "pyarrow/libarrow_flight",
    "pyarrow/libarrow_s3",
    "pyarrow/_acero",
    "pyarrow/_azurefs",
    "pyarrow/_dataset",
    "pyarrow/_flight",
    "pyarrow/_gcsfs",
    "pyarrow/_s3fs",
    "pyarrow/_substrait",
)
"""Beginnings of names that no function needs, and that would take most of the archive's room."""

GLUE_DEPENDENCIES = ("sqlglot",)
COMPILED = ("functions", "files", "streams")
"""Artifacts whose modules are compiled: where Lambda unpacks them nothing can be written, so that each
cold start would compile all that it imports."""
COMPILER = Path(__file__).with_name("compile_modules.py")
OWN_UV = Path(__file__).resolve().parents[1] / ".local" / "uv" / "bin" / "uv"
"""Where the Makefile puts uv."""


@dataclass(frozen=True)
class Target:
    """What an artifact is built for."""

    platform: str = "host"
    python: str = "3.11"

    def pip_options(self) -> list[str]:
        """Options of ``uv pip install``."""
        options = ["--python-version", self.python, "--only-binary", ":all:"]
        if self.platform != "host":
            options += ["--python-platform", self.platform]
        return options


def package_root(name: str) -> Path:
    """The folder of an importable package.

    Raises
    ------
    SystemExit
        It is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {name} is not installed in this environment")
    return Path(spec.submodule_search_locations[0])


def files_under(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """``(name in the archive, file)`` of what belongs into an archive."""
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if not path.is_file() or SKIPPED_DIRECTORIES & set(inside.parts):
            continue
        if path.name in SKIPPED_FILES or path.suffix in SKIPPED_SUFFIXES:
            continue
        name = f"{prefix}{inside.as_posix()}"
        if not name.startswith(UNUSED):
            yield name, path


def write_zip(target: Path, files: Sequence[tuple[str, Path]]) -> None:
    """Write an archive whose bytes depend on names and contents alone."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr, entry.create_system = (
                zipfile.ZIP_DEFLATED,
                MODE,
                3,
            )
            archive.writestr(entry, path.read_bytes(), compresslevel=6)


def uv() -> str:
    """The path of uv.

    Raises
    ------
    SystemExit
        There is none.
    """
    found = os.environ.get("UV") or shutil.which("uv") or (str(OWN_UV) if OWN_UV.exists() else None)
    if found is None:
        raise SystemExit("uv is missing: run make setup, put uv on the PATH, or set UV to its path")
    return found


def run(command: Sequence[str], given: str = "") -> str:
    """What a command says.

    Raises
    ------
    SystemExit
        It failed.
    """
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def install(packages: Sequence[str], target: Target, into: Path) -> None:
    """Install third-party packages, without their dependencies, in the locked versions.

    Raises
    ------
    SystemExit
        uv is missing or failed.
    """
    command = [uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(into)]
    run(command + target.pip_options() + [pinned(name) for name in packages])


def compiled(
    files: Sequence[tuple[str, Path]], target: Target, into: Path
) -> list[tuple[str, Path]]:
    """Compile modules for the target's Python; gives the compiled files as they belong in an archive.

    They are taken without a look at the source (PEP 552), which cannot change under them.

    Raises
    ------
    SystemExit
        There is no such Python on this machine, or it failed.
    """
    own = ".".join(map(str, sys.version_info[:2]))
    python = sys.executable
    if target.python != own:
        python = run([uv(), "python", "find", "--no-project", target.python]).strip()
    names = sorted((name, path) for name, path in files if path.suffix == ".py")
    given = "".join(f"{name}\t{path.resolve()}\n" for name, path in names)
    run([python, "-I", "-S", str(COMPILER), str(into)], given)
    return [
        (path.relative_to(into).as_posix(), path) for path in into.rglob("*.pyc") if path.is_file()
    ]


def pinned(name: str) -> str:
    """``name==version`` of what this environment, made from the lock, has installed."""
    return f"{name}=={version(name)}"


def build(out: Path, target: Target) -> dict[str, dict[str, str]]:
    """Build every artifact.

    Parameters
    ----------
    out
        The folder, made where it is missing.

    Returns
    -------
    dict
        The index: artifact -> ``file``, ``sha256`` (hex), ``codeSha256`` (base64, as Lambda's
        CodeSha256).
    """
    out.mkdir(parents=True, exist_ok=True)
    own = {
        name: list(files_under(package_root(name), f"{name}/"))
        for name in ("weir_contract", "weir_lambdas", "weir_glue")
    }
    archives = {
        "functions": (
            ("weir_contract", "weir_lambdas"),
            (*FUNCTION_DEPENDENCIES, *SIGNING_DEPENDENCIES),
            "functions.zip",
        ),
        "files": (
            ("weir_contract", "weir_lambdas"),
            (*FUNCTION_DEPENDENCIES, *SIGNING_DEPENDENCIES, *FILE_DEPENDENCIES),
            "files.zip",
        ),
        "streams": (
            ("weir_contract", "weir_lambdas"),
            (*FUNCTION_DEPENDENCIES, *STREAM_DEPENDENCIES),
            "streams.zip",
        ),
        "glue": (("weir_contract", "weir_glue"), GLUE_DEPENDENCIES, "glue.zip"),
    }
    index = {}
    known = _known(out)
    made = {}
    for artifact, (packages, dependencies, name) in archives.items():
        made[name] = inputs_of(
            [item for package in packages for item in own[package]], dependencies, target
        )
        if known.get(name) == made[name] and (out / name).exists():
            index[artifact] = describe(out / name)
            continue
        with tempfile.TemporaryDirectory() as folder:
            installed, modules = Path(folder) / "installed", Path(folder) / "modules"
            install(dependencies, target, installed)
            files = [item for package in packages for item in own[package]]
            files += list(files_under(installed))
            if artifact in COMPILED:
                files += compiled(files, target, modules)
            write_zip(out / name, files)
        index[artifact] = describe(out / name)
    script = package_root("weir_glue") / "jobs" / "process.py"
    replace(out / "process.py", script.read_bytes())
    index["glueScript"] = describe(out / "process.py")
    for name, content in ((INPUTS, made), ("artifacts.json", index)):
        replace(out / name, f"{json.dumps(content, indent=2, sort_keys=True)}\n".encode())
    return index


INPUTS = "inputs.json"
"""Archive -> hash of all that it is made from: one whose inputs are the same is not made again."""


def replace(path: Path, content: bytes) -> None:
    """Write a file that others may be reading: they see it whole, as it was or as it is."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)


def _known(out: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((out / INPUTS).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def inputs_of(
    files: Sequence[tuple[str, Path]], dependencies: Sequence[str], target: Target
) -> str:
    """Hash of what an archive is made from, these scripts included."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + COMPILER.read_bytes())
    for name in dependencies:
        digest.update(f"{pinned(name)}\0".encode())
    digest.update(f"{target}{sys.version_info[:2]}{platform.machine()}\0".encode())
    for name, path in sorted(files):
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def describe(path: Path) -> dict[str, str]:
    """A file's entry in the index."""
    digest = hashlib.sha256(path.read_bytes())
    return {
        "file": path.name,
        "sha256": digest.hexdigest(),
        "codeSha256": base64.b64encode(digest.digest()).decode(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="build_artifacts.py", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("dist/artifacts"))
    parser.add_argument("--platform", choices=PLATFORMS, default="host")
    parser.add_argument("--python", default="3.11", help="Python version of the runtime")
    chosen = parser.parse_args(arguments)
    index = build(chosen.out, Target(chosen.platform, chosen.python))
    sys.stdout.write(json.dumps(index, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
