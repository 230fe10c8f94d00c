"""An operator that is killed while it creates leaves exactly what is wanted, and nothing behind."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from e2e import declared
from e2e.running import Object, Running, is_ready, until
from e2e.source_server import SourceServer
from weir_local.stack import NAMESPACE

pytestmark = pytest.mark.e2e

NAMES = ("killed-a", "killed-b")
KILLS = 3
CREATION_SECONDS = 1.5
"""About how long the operator takes to create what two sources and their Pipelines want."""
RESTART_SECONDS = 60


def found(running: Running) -> Counter[str]:
    """Every AWS resource that bears the name of one of the sources, as often as it is listed."""
    listed: Counter[str] = Counter()

    def pages(service: str, operation: str, **options: str) -> Iterator[Object]:
        return iter(running.aws(service).get_paginator(operation).paginate(**options))

    for page in pages("iam", "list_roles", PathPrefix="/weir/local/"):
        listed.update(role["Arn"] for role in page["Roles"])
    for page in pages("lambda", "list_functions"):
        listed.update(one["FunctionArn"] for one in page["Functions"])
    for page in pages("logs", "describe_log_groups"):
        listed.update(one["arn"].removesuffix(":*") for one in page["logGroups"])
    for page in pages("stepfunctions", "list_state_machines"):
        listed.update(one["stateMachineArn"] for one in page["stateMachines"])
    for page in pages("scheduler", "list_schedules"):
        listed.update(one["Arn"] for one in page["Schedules"])
    for page in pages("cloudwatch", "describe_alarms"):
        listed.update(one["AlarmArn"] for one in page["MetricAlarms"])
    for page in pages("glue", "get_jobs"):
        listed.update(f"glue:job/{one['Name']}" for one in page["Jobs"])
    for page in pages("glue", "get_tables", DatabaseName="weir_local_default"):
        listed.update(f"glue:table/{one['Name']}" for one in page["TableList"])
    bucket = running.bucket("artifacts")
    listed.update(f"arn:aws:s3:::{bucket}/{key}" for key in running.keys("artifacts", "config/"))
    table = running.resource("plat", "default", "state")["name"]
    for page in pages("dynamodb", "scan", TableName=table):
        listed.update(
            f"dynamodb:{item['pk']['S']}|{item['sk']['S']}"
            for item in page["Items"]
            if item["sk"]["S"].startswith("SUBSCRIBER#")
        )
    return Counter({one: n for one, n in listed.items() if _ours(one)})


def _ours(identity: str) -> bool:
    return any(name in identity or name.replace("-", "_") in identity for name in NAMES)


def wanted(running: Running) -> set[str]:
    """What the objects say that they have, spelled as :func:`found` does."""
    said = set()
    for name in NAMES:
        for kind in ("dsrc", "pipe"):
            obj = running.get(kind, name)
            assert obj is not None
            for line in obj["status"]["resources"]:
                match line["kind"]:
                    case "redshift.Table":
                        continue
                    case "glue.Job":
                        said.add(f"glue:job/{line['name']}")
                    case "glue.Table":
                        said.add(f"glue:table/{line['arn'].rpartition('/')[2]}")
                    case "dynamodb.Item":
                        said.add(f"dynamodb:{line['name'].partition('|')[2]}")
                    case _:
                        said.add(line["arn"])
    return said


def restart_count(running: Running) -> int:
    (container,) = running.pod()["status"]["containerStatuses"]
    return int(container["restartCount"])


def complete(obj: Object | None) -> bool:
    return is_ready(obj) and all(
        line.get("state") == "Ready" for line in obj["status"]["resources"]
    )  # type: ignore[index]


@pytest.fixture(scope="module")
def killed(running: Running, server: SourceServer) -> int:
    """Sources during whose creation the operator was killed; how often that was before the end."""
    endpoint = server.rows("/killed", [{"id": 1, "name": "a"}])
    chance = random.Random()
    print(f"the moments are those of random state {hash(chance.getstate()):x}")
    running.apply(*(declared.loaded(name, endpoint, suspend=True) for name in NAMES))
    unfinished = 0
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, CREATION_SECONDS))
        unfinished += not all(complete(running.get("pipe", name)) for name in NAMES)
        dead = running.kill_operator()
        until(
            lambda dead=dead: (
                running.operator_pid() not in (None, dead)  # type: ignore[misc]
                and running.is_operator_ready()
            ),
            "the operator does not come back",
            RESTART_SECONDS,
        )
    for name in NAMES:
        running.wait("dsrc", name, complete)
        running.wait("pipe", name, complete)
    return unfinished


def test_the_operator_was_killed_before_it_was_done(running: Running, killed: int) -> None:
    assert killed > 0
    assert restart_count(running) >= KILLS


def test_there_is_exactly_what_is_wanted_and_nothing_twice(running: Running, killed: int) -> None:
    there, said = found(running), wanted(running)
    assert set(there) == said
    assert {one: n for one, n in there.items() if n > 1} == {}
    kinds = {
        name: sorted(
            (line["kind"], line["id"])
            for kind in ("dsrc", "pipe")
            for line in running.get(kind, name)["status"]["resources"]  # type: ignore[index]
        )
        for name in NAMES
    }
    renamed = [(kind, one.replace(NAMES[1], NAMES[0])) for kind, one in kinds[NAMES[1]]]
    assert kinds[NAMES[0]] == sorted(renamed)


def test_nothing_is_left_after_deletion(running: Running, killed: int) -> None:
    running.kubectl("delete", "dsrc", *NAMES, "--timeout=90s")
    for name in NAMES:
        running.wait_gone("pipe", name)
    assert found(running) == Counter()
    tables = running.query(
        "select table_name from svv_all_tables where schema_name = 'public_data' "
        "and table_name in ('killed_a', 'killed_b')"
    )
    leases = json.loads(running.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
    assert len(leases) == 1
    assert len(tables) <= len(NAMES), "retained by deletionPolicy: Retain"
