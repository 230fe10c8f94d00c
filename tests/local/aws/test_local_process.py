"""The background process, its record, and what bootstrap leaves behind."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import boto3
import pytest
from aws_makers import allow, policy, refused

from weir_local.aws import bootstrap, process, server
from weir_local.cluster.processes import start_time


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    """A local AWS in the background."""
    state = tmp_path_factory.mktemp("process")
    yield state, process.up(state)
    process.down(state)


def test_up_twice_is_the_same_process(running: tuple[Path, process.Record]) -> None:
    state, record = running
    assert process.up(state) == record
    assert process.read(state) == record


def test_it_listens_on_loopback_alone(running: tuple[Path, process.Record]) -> None:
    _, record = running
    port = int(record.endpoint.rsplit(":", 1)[1])
    addresses = {
        address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    }
    for address in addresses - {server.LOOPBACK}:
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex((address, port)) != 0


def test_bootstrap_gives_the_operator_its_policy_and_no_more(
    running: tuple[Path, process.Record],
) -> None:
    state, record = running
    document = policy(allow("s3:ListAllMyBuckets"))
    path = bootstrap.bootstrap(record.endpoint, record.region, state, {"weir-operator": document})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = json.loads(path.read_text())
    keys = {name.lower(): value for name, value in written["operator"].items()}
    session = boto3.Session(region_name=record.region, **keys)
    session.client("s3", endpoint_url=record.endpoint).list_buckets()
    glue = session.client("glue", endpoint_url=record.endpoint)
    message = refused(glue.get_databases)
    assert "user/weir-operator is not authorized to perform: glue:GetDatabases" in message
    keys = {name.lower(): value for name, value in written["person"].items()}
    person = boto3.Session(region_name=record.region, **keys)
    serverless = person.client("redshift-serverless", endpoint_url=record.endpoint)
    name = written["redshift"]["workgroupName"]
    assert serverless.get_workgroup(workgroupName=name)["workgroup"]["status"] == "AVAILABLE"
    again = bootstrap.bootstrap(record.endpoint, record.region, state, {"weir-operator": document})
    assert json.loads(again.read_text())["redshift"] == written["redshift"]


def test_down_ends_that_process_and_forgets_it(tmp_path: Path) -> None:
    record = process.up(tmp_path)
    assert process.down(tmp_path)
    assert start_time(record.pid) != record.started
    assert not server.healthy(record.endpoint)
    assert not process.down(tmp_path)


def test_a_reused_process_id_is_not_taken_for_ours(tmp_path: Path) -> None:
    record = {
        "pid": 1,
        "started": "0-another",
        "endpoint": "http://127.0.0.1:1",
        "account": server.ACCOUNT,
        "region": server.REGION,
    }
    (tmp_path / "aws.json").write_text(json.dumps(record))
    assert process.read(tmp_path) is None
    assert not process.down(tmp_path)
