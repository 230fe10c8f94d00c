"""Which cluster is used, where its programs come from, and what is ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from patience import until
from weir_local.cluster import (
    ClusterError,
    ControlPlane,
    GivenCluster,
    KindCluster,
    choose,
    run,
    toolchain,
)  # fmt: skip
from weir_local.cluster.processes import Processes, Recorded, start_time


def program(directory: Path, name: str, script: str = "exit 0") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_kubeconfig_that_the_user_names_comes_first(tmp_path: Path) -> None:
    cluster = choose(tmp_path, environ={"KUBECONFIG": "/somewhere/config", "PATH": ""})
    assert isinstance(cluster, GivenCluster)
    assert cluster.kubeconfig == Path("/somewhere/config")
    with pytest.raises(ClusterError, match="KUBECONFIG names /somewhere/config, which is not ther"):
        cluster.start()


def test_our_own_kubeconfig_does_not_count_as_the_users(tmp_path: Path) -> None:
    environ = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": ""}
    assert isinstance(choose(tmp_path, environ=environ), ControlPlane)


def test_the_home_directorys_kubeconfig_is_never_looked_at(tmp_path: Path) -> None:
    home = tmp_path / "home" / ".kube"
    home.mkdir(parents=True)
    (home / "config").write_text("current-context: production")
    environ = {"HOME": str(home.parent), "PATH": ""}
    assert isinstance(choose(tmp_path / "state", environ=environ), ControlPlane)


def test_kind_is_used_where_a_docker_daemon_answers(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    program(programs, "kind")
    program(programs, "docker")
    cluster = choose(tmp_path / "state", environ={"PATH": f"{programs}:/bin"})
    assert isinstance(cluster, KindCluster)
    assert cluster.kubeconfig == tmp_path / "state" / "kubeconfig"


def test_docker_without_a_daemon_is_no_docker(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    program(programs, "kind")
    program(programs, "docker", "exit 1")
    cluster = choose(tmp_path / "state", environ={"PATH": f"{programs}:/bin"})
    assert isinstance(cluster, ControlPlane)


def test_kubebuilder_assets_are_used_before_anything_is_built(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    wanted = {each.name: program(assets, each.name) for each in toolchain.PROGRAMS}
    assert toolchain.programs({"KUBEBUILDER_ASSETS": str(assets), "PATH": ""}) == wanted


def test_kubebuilder_assets_without_an_api_server_are_refused(tmp_path: Path) -> None:
    program(tmp_path, "etcd")
    with pytest.raises(toolchain.ToolchainError, match="holds no kube-apiserver"):
        toolchain.programs({"KUBEBUILDER_ASSETS": str(tmp_path), "PATH": ""})


def test_without_go_the_error_names_every_way_out(tmp_path: Path) -> None:
    environ = {"WEIR_CACHE": str(tmp_path), "PATH": ""}
    with pytest.raises(toolchain.ToolchainError, match="no Go compiler") as error:
        toolchain.programs(environ)
    for word in ("KUBEBUILDER_ASSETS", "kind", "KUBECONFIG"):
        assert word in str(error.value)


def test_programs_are_built_once_whole_and_under_a_lock(tmp_path: Path) -> None:
    """Two builders at once, with a compiler that counts its calls."""
    calls = tmp_path / "calls"
    program(
        tmp_path / "bin",
        "go",
        f'echo "$@" >> {calls}; sleep 0.2\n'
        "for last; do :; done\n"
        'case "$1" in\n'
        '  build) while [ "$1" != -o ]; do shift; done; echo x > "$2" ;;\n'
        '  install) echo x > "$GOBIN/helm" ;;\n'
        "esac",
    )
    script = (
        "from weir_local.cluster import toolchain;"
        "print(*sorted(map(str, toolchain.programs().values())))"
    )
    environ = {"WEIR_CACHE": str(tmp_path / "cache"), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    builders = [
        subprocess.Popen([sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [builder.wait(30) for builder in builders] == [0, 0]
    lines = calls.read_text().splitlines()
    assert len(lines) == len(toolchain.PROGRAMS)
    assert all("gitVersion=v1.35.4" in line for line in lines if line.startswith("build"))
    assert sum("helm.sh/helm/v3/cmd/helm@v3.19.2" in line for line in lines) == 1
    directory = toolchain.cache_directory(environ)
    assert {path.name for path in directory.iterdir() if path.is_file()} >= {
        each.name for each in toolchain.PROGRAMS
    }


def test_another_recipe_is_another_place_in_the_cache(tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.sum").write_text("")
    (module / "go.mod").write_text("one")
    one = toolchain.cache_directory({"WEIR_CACHE": str(tmp_path)}, module)
    (module / "go.mod").write_text("two")
    assert toolchain.cache_directory({"WEIR_CACHE": str(tmp_path)}, module) != one


def test_a_process_that_took_the_number_of_ours_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        processes = Processes(tmp_path)
        (tmp_path / "ours.json").write_text(f'{{"pid": {stranger.pid}, "started": "another time"}}')
        assert processes.record("ours") == Recorded(stranger.pid, "another time")
        assert not processes.running("ours")
        assert not processes.stop("ours")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_is_started_once_and_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    assert processes.start("one", ["sh", "-c", "echo hello; exec sleep 60"]) is not None
    first = processes.record("one")
    assert processes.start("one", ["sleep", "60"]) is None
    assert processes.record("one") == first and first is not None
    until(lambda: processes.tail("one") == "hello", pause=0.02)
    assert processes.stop("one")
    assert start_time(first.pid) is None


@pytest.mark.cluster
def test_starting_twice_changes_nothing(pod_cluster: ControlPlane) -> None:
    before = {name: pod_cluster.processes.record(name) for name in pod_cluster.status()}
    pod_cluster.start()
    pod_cluster.wait_ready()
    assert {name: pod_cluster.processes.record(name) for name in pod_cluster.status()} == before
    assert all(pod_cluster.status().values())


@pytest.mark.cluster
def test_controllers_that_gave_up_before_the_api_server_answered_are_started_again(
    pod_cluster: ControlPlane,
) -> None:
    assert pod_cluster.processes.stop("kube-controller-manager")
    pod_cluster.wait_ready()
    assert all(pod_cluster.status().values())


@pytest.mark.cluster
def test_a_control_plane_keeps_its_objects_over_a_restart_until_it_forgets_them(
    tmp_path: Path,
) -> None:
    cluster = ControlPlane(tmp_path, controllers=False, environ=os.environ)
    try:
        cluster.start()
        cluster.wait_ready()
        run(cluster, "kubectl", "create", "namespace", "kept")
        cluster.stop()
        assert not cluster.running()
        cluster.start()
        cluster.wait_ready()
        assert "kept" in run(cluster, "kubectl", "get", "ns", "-o", "name").stdout
        cluster.forget()
        assert not cluster.running()
        cluster.start()
        cluster.wait_ready()
        assert "kept" not in run(cluster, "kubectl", "get", "ns", "-o", "name").stdout
    finally:
        cluster.stop()


@pytest.mark.cluster
def test_kubectl_and_helm_accept_each_other(pod_cluster: ControlPlane) -> None:
    version = run(pod_cluster, "kubectl", "version").stdout
    assert "Server Version: v1.35.4" in version
    assert "Client Version: v1.35.4" in version
    assert run(pod_cluster, "helm", "list", "--all-namespaces").returncode == 0


@pytest.mark.cluster
def test_nobody_without_a_certificate_reads_the_store(pod_cluster: ControlPlane) -> None:
    address = next(
        argument.partition("=")[2]
        for argument in Path(f"/proc/{pod_cluster.processes.record('etcd').pid}/cmdline")
        .read_bytes().decode().split("\0")
        if argument.startswith("--listen-client-urls")
    )  # fmt: skip
    ca = pod_cluster.state / "certificates" / "ca.crt"
    script = (
        "import ssl, sys, urllib.request;"
        "urllib.request.urlopen(sys.argv[1] + '/health',"
        " context=ssl.create_default_context(cafile=sys.argv[2]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, address, str(ca)], capture_output=True, text=True
    )
    assert answer.returncode != 0
    assert "certificate required" in answer.stderr or "SSL" in answer.stderr
