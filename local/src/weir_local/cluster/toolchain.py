"""Where the control plane's programs come from.

``KUBEBUILDER_ASSETS`` (the directory that controller-runtime's tests use too) comes first. Else all
are built from their Go modules, once, into a cache that is keyed by everything that goes into them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "v1.35.4"
HELM = "v3.19.2"
# Without these helm and kubectl take the server and themselves for version v0.0.0 and refuse.
LINKER_FLAGS = (
    f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}"
    f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"
)
HELM_LINKER_FLAGS = (
    f"-s -w -X helm.sh/helm/v3/internal/version.version={HELM}"
    " -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1"
    f" -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={KUBERNETES.split('.')[1]}"
    " -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1"
    f" -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={KUBERNETES.split('.')[1]}"
)
SERVERS = ("etcd", "kube-apiserver")
CLIENTS = ("kubectl", "helm")
MODULE = Path(__file__).resolve().parents[3] / "controlplane"


class ToolchainError(RuntimeError):
    """The control plane's programs are neither there nor can be built; the text says what to do."""


@dataclass(frozen=True)
class Program:
    """One program to build: its file name, its Go package, and what the linker is told.

    ``module_version`` is set for a program with a module of its own (``go install``); one without
    is a tool of our go.mod (``go build``).
    """

    name: str
    package: str
    linker_flags: str = LINKER_FLAGS
    module_version: str | None = None

    def command(self, go: str, module: Path, directory: Path) -> list[str]:
        """The command that builds it into ``directory``."""
        if self.module_version:
            return [go, "install", "-trimpath", "-ldflags", self.linker_flags,
                    f"{self.package}@{self.module_version}"]  # fmt: skip
        return [go, "build", "-C", str(module), "-trimpath", "-ldflags", self.linker_flags,
                "-o", str(directory / self.name), self.package]  # fmt: skip


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3"),
    Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Program("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Program("helm", "helm.sh/helm/v3/cmd/helm", HELM_LINKER_FLAGS, HELM),
)


def cache_directory(environ: Mapping[str, str] | None = None, module: Path = MODULE) -> Path:
    """Where the programs built from ``module`` are kept: ``$WEIR_CACHE`` or ``~/.cache/weir``."""
    environ = os.environ if environ is None else environ
    root = Path(environ.get("WEIR_CACHE") or Path.home() / ".cache" / "weir")
    recipe = hashlib.sha256((module / "go.mod").read_bytes())
    recipe.update((module / "go.sum").read_bytes())
    for program in PROGRAMS:
        recipe.update(repr(program).encode())
    return root / "controlplane" / recipe.hexdigest()[:16]


def clients(environ: Mapping[str, str] | None = None) -> dict[str, Path]:
    """kubectl and helm for a cluster that is not ours: those on PATH, else built.

    Raises
    ------
    ToolchainError
        One is missing and cannot be built.
    """
    environ = os.environ if environ is None else environ
    found = {name: shutil.which(name, path=environ.get("PATH")) for name in CLIENTS}
    ready = {name: Path(path) for name, path in found.items() if path}
    wanted = [program for program in PROGRAMS if program.name in found.keys() - ready.keys()]
    return ready | build(wanted, cache_directory(environ), environ)


def programs(environ: Mapping[str, str] | None = None, module: Path = MODULE) -> dict[str, Path]:
    """Every program of the control plane, built first where none is at hand.

    ``KUBEBUILDER_ASSETS`` gives what it holds; the rest (kube-controller-manager and helm are no
    part of it) is looked up on PATH before anything is built.

    Returns
    -------
    dict[str, Path]
        The file of each of :data:`PROGRAMS`, by name.

    Raises
    ------
    ToolchainError
        Go is missing, a build failed, or ``KUBEBUILDER_ASSETS`` lacks etcd or kube-apiserver.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Path] = {}
    assets = environ.get("KUBEBUILDER_ASSETS")
    if assets:
        for program in PROGRAMS:
            path = Path(assets) / program.name
            other = shutil.which(program.name, path=environ.get("PATH"))
            if path.exists():
                found[program.name] = path
            elif program.name not in SERVERS and other:
                found[program.name] = Path(other)
        missing = [name for name in SERVERS if name not in found]
        if missing:
            raise ToolchainError(
                f"KUBEBUILDER_ASSETS={assets} holds no {' and no '.join(missing)}: point it to the"
                " directory that `setup-envtest use -p path` prints, or unset it"
            )
    wanted = [program for program in PROGRAMS if program.name not in found]
    if wanted:
        found |= build(wanted, cache_directory(environ, module), environ, module)
    return found


def build(
    wanted: list[Program] | tuple[Program, ...],
    directory: Path,
    environ: Mapping[str, str] | None = None,
    module: Path = MODULE,
) -> dict[str, Path]:
    """Build what ``directory`` lacks of ``wanted``; a second builder waits for the first.

    Prints one line a program and its seconds, since a cold build takes minutes.
    """
    environ = dict(os.environ if environ is None else environ)
    missing = [program for program in wanted if not (directory / program.name).exists()]
    if missing:
        go = shutil.which("go", path=environ.get("PATH"))
        if go is None:
            raise ToolchainError(
                "no Go compiler on PATH to build "
                + ", ".join(program.name for program in missing)
                + ": install Go 1.25 or newer, or set KUBEBUILDER_ASSETS to a directory with etcd"
                " and kube-apiserver, or start Docker and install kind, or set KUBECONFIG"
            )
        directory.mkdir(parents=True, exist_ok=True)
        with _lock(directory / ".lock"):
            for number, program in enumerate(wanted, 1):
                if not (directory / program.name).exists():
                    _build_one(program, go, directory, environ, module, f"{number}/{len(wanted)}")
    return {program.name: directory / program.name for program in wanted}


def _build_one(
    program: Program,
    go: str,
    directory: Path,
    environ: Mapping[str, str],
    module: Path,
    progress: str,
) -> None:
    print(f"building {program.name} ({progress}, once for this machine) ...", flush=True)
    started = time.monotonic()
    partial = directory / "partial"
    partial.mkdir(exist_ok=True)
    result = subprocess.run(
        program.command(go, module, partial),
        env={**environ, "GOBIN": str(partial), "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"
             if program.module_version else "-mod=readonly"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if result.returncode:
        raise ToolchainError(
            f"building {program.name} failed:\n{result.stderr.strip()[-4000:]}\n"
            f"run it again by hand: {' '.join(program.command(go, module, partial))}"
        )
    # A rename: another process sees a whole program or none.
    (partial / program.name).replace(directory / program.name)
    print(f"built {program.name} in {time.monotonic() - started:.0f} s", flush=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another process is building the control plane; waiting for it ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
