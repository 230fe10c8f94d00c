"""Each statement of docs/iam is needed: without it a call is refused that names an action of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from installation import Installation, Part, by_name

from weir.aws.base import ServiceAdapter
from weir.aws.calls import Calls
from weir.aws.errors import AccessDenied
from weir.reconcile.ledger import Ledger
from weir.resource import Change, Resource, resolve
from weir_local.aws.server import LocalAws

pytestmark = pytest.mark.aws

REGION = "eu-central-1"
UNBORN = "zzzzzzzz"
"""In the place of a name's hash: the name of something that does not exist."""


class Probe:
    """What the operator does with one kind, through its adapter."""

    def __init__(self, installed: Installation, parts: list[Part]) -> None:
        self.installed = installed
        self.resources = [one for part in parts for one in part.resources]
        self.attributes = {
            key: text for part in parts for key, text in installed.apply(part).attributes.items()
        }

    def resource(self, kind: str) -> Resource:
        """One that is installed under a name of its own, with every reference resolved."""
        found = next(
            one
            for one in self.resources
            if one.kind == kind and not (one.external and one.name.startswith("arn:"))
        )
        return replace(found, properties=resolve(found.properties, self.attributes))

    def unborn(self, kind: str) -> Resource:
        """The same under another name: nothing has it."""
        found = self.resource(kind)
        if kind == "s3.Object":
            return replace(found, name=f"{found.name}.{UNBORN}")
        return replace(found, name=found.name[: -len(UNBORN)] + UNBORN)

    def one(self, kind: str) -> None:
        """Look at one."""
        self.installed.adapters[kind].observe([self.resource(kind).name])

    def none(self, kind: str) -> None:
        """Look for one that does not exist."""
        self.installed.adapters[kind].observe([self.unborn(kind).name])

    def many(self, kind: str) -> None:
        """Look at many by pages."""
        adapter = self.installed.adapters[kind]
        assert isinstance(adapter, ServiceAdapter)
        list(adapter.listing(self.names(kind)))

    def names(self, kind: str) -> list[str]:
        """One that is there and five that are not."""
        name = self.resource(kind).name
        return [name, *(f"{name}{number}" for number in range(5))]

    def create(self, kind: str) -> None:
        """Make another."""
        self.installed.adapters[kind].create(self.unborn(kind), {"weir.dev/cluster": "local"})

    def update(self, kind: str) -> None:
        """Write all properties of one again, as if each had drifted."""
        resource = self.resource(kind)
        adapter = self.installed.adapters[kind]
        observed = adapter.observe([resource.name])[resource.name]
        changes = [Change(name, None, value) for name, value in resource.properties.items()]
        adapter.update(resource, observed, changes, {**observed.tags, "touched": "yes"})

    def remove(self, kind: str) -> None:
        """Delete one."""
        name = self.resource(kind).name
        adapter = self.installed.adapters[kind]
        adapter.delete(adapter.observe([name])[name])

    def hear(self, _: str) -> None:
        """Ask the Platform's queue of change events."""
        queue = next(one for one in self.resources if one.logical_id == "changes")
        calls = Calls(self.installed.session, "sqs")
        url = calls("GetQueueUrl", queue.name, QueueName=queue.name)["QueueUrl"]
        calls("ReceiveMessage", queue.name, QueueUrl=url)

    def stop(self, _: str) -> None:
        """Look at a run of a state machine, as the taking down of an object does."""
        name = self.resource("states.StateMachine").name
        execution = self.installed.session.arn("states", f"execution:{name}:none")
        Ledger(self.installed.session).execution(execution)


ROOMS: dict[str, dict[str, tuple[Callable[[Probe, str], None], str]]] = {
    "operator-compute": {
        "KeepFunctions": (Probe.create, "lambda.Function"),
        "ListFunctions": (Probe.many, "lambda.Function"),
        "CreateMappings": (Probe.create, "lambda.EventSourceMapping"),
        "KeepMappings": (Probe.update, "lambda.EventSourceMapping"),
        "KeepMachines": (Probe.update, "states.StateMachine"),
        "WatchRuns": (Probe.stop, "states.StateMachine"),
        "ListMachines": (Probe.many, "states.StateMachine"),
        "KeepJobs": (Probe.update, "glue.Job"),
        "KeepCrawlers": (Probe.update, "glue.Crawler"),
        "ListJobs": (Probe.many, "glue.Job"),
        "KeepCatalog": (Probe.update, "glue.Table"),
        "KeepAlarms": (Probe.create, "cloudwatch.Alarm"),
        "ListAlarms": (Probe.one, "cloudwatch.Alarm"),
        "KeepDashboards": (Probe.update, "cloudwatch.Dashboard"),
        "KeepWarehouse": (Probe.one, "redshift.Schema"),
        "ReadStatements": (Probe.one, "redshift.Schema"),
        "SignInToWarehouse": (Probe.one, "redshift.Schema"),
    },
    "operator-identity": {
        "WriteRoles": (Probe.create, "iam.Role"),
        "KeepRoles": (Probe.one, "iam.Role"),
        "FindRoles": (Probe.none, "iam.Role"),
        "PassRoles": (Probe.create, "lambda.Function"),
        "ListRoles": (Probe.many, "iam.Role"),
        "CreateKey": (Probe.create, "kms.Key"),
        "KeepKeys": (Probe.update, "kms.Key"),
        "NameKeys": (Probe.none, "kms.Key"),
        "FindSecrets": (Probe.one, "secretsmanager.Secret"),
        "ListKeys": (Probe.many, "kms.Key"),
        "ListSecrets": (Probe.many, "secretsmanager.Secret"),
        "ListTagged": (Probe.many, "states.StateMachine"),
    },
    "operator-network": {
        "FindNetworks": (Probe.one, "ec2.SecurityGroup"),
        "MakeInNetworks": (Probe.create, "ec2.VpcEndpoint"),
        "EnterVpcs": (Probe.create, "ec2.SecurityGroup"),
        "JoinEndpoints": (Probe.create, "ec2.VpcEndpoint"),
        "TagAtBirth": (Probe.create, "ec2.SecurityGroup"),
        "KeepNetworks": (Probe.update, "ec2.SecurityGroup"),
        "KeepConnections": (Probe.update, "glue.Connection"),
        "ListConnections": (Probe.many, "glue.Connection"),
    },
    "operator-mail": {
        "KeepReceiptRules": (Probe.update, "ses.ReceiptRule"),
        "SeeDomains": (Probe.one, "ses.Identity"),
        "LetWorkMailCall": (Probe.create, "lambda.Permission"),
        "KeepCallers": (Probe.update, "lambda.Permission"),
        "MakeRuleSet": (Probe.create, "ses.RuleSet"),
    },
    "operator-storage": {
        "KeepBuckets": (Probe.create, "s3.Bucket"),
        "KeepCode": (Probe.create, "s3.Object"),
        "KeepTables": (Probe.one, "dynamodb.Table"),
        "KeepLogs": (Probe.update, "logs.LogGroup"),
        "FindLogs": (Probe.one, "logs.LogGroup"),
        "KeepQueues": (Probe.update, "sqs.Queue"),
        "HearChanges": (Probe.hear, "sqs.Queue"),
        "KeepTopics": (Probe.update, "sns.Topic"),
        "KeepRules": (Probe.update, "events.Rule"),
        "KeepStreams": (Probe.update, "kinesis.Stream"),
        "ReadStreams": (Probe.one, "kinesis.Stream"),
        "KeepConsumers": (Probe.remove, "kinesis.Consumer"),
        "KeepSchedules": (Probe.update, "scheduler.Schedule"),
        "ListAll": (Probe.many, "scheduler.Schedule"),
    },
}
"""Policy -> statement -> what shows that it is needed."""

ELSEWHERE = {
    (
        "operator-compute",
        "FindWarehouse",
    ): "lists provisioned clusters; this installation's warehouse is serverless, "
    "which GetWorkgroup of KeepWarehouse finds",
}
"""Statements that this installation does not need, each with the reason."""


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, credentials: None
) -> Iterator[Installation]:
    """An installation on an account of its own."""
    with LocalAws(tmp_path_factory.mktemp("policy"), region=REGION) as aws:
        yield Installation(aws, tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def probe(installed: Installation) -> Probe:
    """What the operator does, on an installation that has come to rest."""
    return Probe(installed, installed.create())


@contextmanager
def without(installed: Installation, policy: str, sid: str) -> Iterator[dict[str, Any]]:
    """The operator's policies less one statement, which is given; with it again afterwards."""
    document = installed.policies[policy]
    (gone,) = [one for one in document["Statement"] if one["Sid"] == sid]
    rest = [one for one in document["Statement"] if one["Sid"] != sid]
    arn = f"arn:aws:iam::000000000000:policy/{policy}"

    def publish(statements: list[dict[str, Any]]) -> None:
        for version in installed.iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                installed.iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        installed.iam.create_policy_version(
            PolicyArn=arn,
            PolicyDocument=json.dumps({**document, "Statement": statements}),
            SetAsDefault=True,
        )

    publish(rest)
    try:
        yield gone
    finally:
        publish(document["Statement"])


def test_every_statement_has_its_row(installed: Installation) -> None:
    stated = {
        (policy, one["Sid"])
        for policy, document in installed.policies.items()
        for one in document["Statement"]
    }
    shown = {(policy, sid) for policy, rows in ROOMS.items() for sid in rows}
    assert shown | set(ELSEWHERE) == stated
    assert shown & set(ELSEWHERE) == set()


@pytest.mark.parametrize(
    ("policy", "sid"),
    [(policy, sid) for policy, rows in ROOMS.items() for sid in rows],
)
def test_without_a_statement_the_refusal_names_an_action_of_it(
    installed: Installation, probe: Probe, policy: str, sid: str
) -> None:
    act, kind = ROOMS[policy][sid]
    with without(installed, policy, sid) as gone, pytest.raises(AccessDenied) as denied:
        act(probe, kind)
    assert denied.value.action in gone["Action"]
    assert f"{denied.value.action} on {denied.value.target}" in str(denied.value)


@pytest.mark.parametrize(
    ("policy", "sid", "kind"),
    [
        (policy, sid, kind)
        for policy, rows in ROOMS.items()
        for sid, (act, kind) in rows.items()
        if act is Probe.many
    ],
)
def test_who_may_not_list_looks_at_each(
    installed: Installation, probe: Probe, policy: str, sid: str, kind: str
) -> None:
    names = probe.names(kind)
    adapter = installed.adapters[kind]
    with without(installed, policy, sid):
        assert by_name(adapter.survey(names)) == adapter.observe(names) != {}
