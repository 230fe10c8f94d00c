"""How many calls AWS gets: for each kind, to make one, to change one, and to survey 250."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from adapters_world import OWNER, World, settled
from installation import by_name

from weir.aws.errors import Conflict
from weir.aws.registry import adapters
from weir.aws.session import AwsSession, Call, Target
from weir.resource import TAG_NAME, Adapter, Change, Resource
from weir_local.aws.server import LocalAws

pytestmark = pytest.mark.aws

REGION = "eu-central-1"
MANY = 249
"""With what the account has beside: 250, which is five pages of functions."""


class Counted:
    """A session that counts every try of every call."""

    def __init__(self, endpoint: str, region: str) -> None:
        self.calls: Counter[str] = Counter()
        self.session = AwsSession(
            Target(region=region, endpoint_url=endpoint), observer=self._count
        )
        self.adapters: Mapping[str, Adapter] = adapters(self.session)
        assert self.session.account_id

    def _count(self, call: Call) -> None:
        self.calls[call.operation] += 1 + call.retries

    def of(self, act: Callable[[], Any]) -> dict[str, int]:
        """The calls of an act."""
        self.calls.clear()
        act()
        return dict(self.calls)


@dataclass(frozen=True)
class Economy:
    """What one kind may cost.

    ``make`` gives the n-th resource; ``create`` and ``update`` are the very calls, ``page`` the
    items of one page of its listing, ``more`` the calls of a survey beside these pages and those of
    the tag index.
    """

    make: Callable[[World, int], Resource]
    create: dict[str, int]
    change: Mapping[str, Any]
    update: dict[str, int]
    page: int
    tagged: bool = True
    more: int = 0


def role(world: World, number: int) -> Resource:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    statement = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::b/{number}",
    }
    return Resource(
        "iam.Role",
        "role",
        f"weir-many-role-{number:03}",
        {
            "Path": "/weir/test/",
            "Description": "many",
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [{**trust, "Action": "sts:AssumeRole"}],
            },
            "Policies": {"weir": {"Version": "2012-10-17", "Statement": [statement]}},
        },
    )


def group(world: World, number: int) -> Resource:
    name = f"/aws/lambda/weir-many-{number:03}"
    return Resource("logs.LogGroup", "logs", name, {"RetentionInDays": 30})


def function(world: World, number: int) -> Resource:
    return Resource(
        "lambda.Function",
        "function",
        f"weir-many-{number:03}",
        {
            "Runtime": "python3.11",
            "Handler": "handler.handler",
            "Role": world.role,
            "Code": {"S3Bucket": world.bucket, "S3Key": "code.zip"},
            "Timeout": 30,
            "MemorySize": 128,
        },
    )


def machine(world: World, number: int) -> Resource:
    return Resource(
        "states.StateMachine",
        "machine",
        f"weir-many-{number:03}",
        {
            "definition": {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}},
            "roleArn": world.role,
            "type": "STANDARD",
        },
    )


def schedule(world: World, number: int) -> Resource:
    return Resource(
        "scheduler.Schedule",
        "schedule",
        f"weir-many-{number:03}",
        {
            "ScheduleExpression": "rate(1 hour)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": world.queue, "RoleArn": world.role, "Input": {"a": 1}},
        },
        tagged=False,
    )


def alarm(world: World, number: int) -> Resource:
    return Resource(
        "cloudwatch.Alarm",
        "alarm",
        f"weir-many-{number:03}",
        {
            "Namespace": "AWS/States",
            "MetricName": "ExecutionsFailed",
            "Statistic": "Sum",
            "Period": 300,
            "EvaluationPeriods": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        },
    )


def stored(world: World, number: int) -> Resource:
    name = f"s3://{world.bucket}/config/team/source/many-{number:03}.json"
    return Resource("s3.Object", "config", name, {"Body": json.dumps({"n": number})}, tagged=False)


def item(world: World, number: int) -> Resource:
    name = f"world-table|SOURCE#{number:03}|SUBSCRIBER#team/pipe"
    return Resource("dynamodb.Item", "item", name, {"Item": {"n": number}}, tagged=False)


def topic(world: World, number: int) -> Resource:
    name = f"weir-many-{number:03}"
    subscriptions = [{"Protocol": "email", "Endpoint": "team@example.com"}]
    return Resource("sns.Topic", "topic", name, {"Subscriptions": subscriptions})


def job(world: World, number: int) -> Resource:
    return Resource(
        "glue.Job",
        "job",
        f"weir-many-{number:03}",
        {
            "Role": world.role,
            "Command": {
                "Name": "glueetl",
                "ScriptLocation": f"s3://{world.bucket}/process.py",
                "PythonVersion": "3",
            },
            "GlueVersion": "5.0",
            "WorkerType": "G.1X",
            "NumberOfWorkers": 2,
        },
    )


def crawler(world: World, number: int) -> Resource:
    return Resource(
        "glue.Crawler",
        "crawler",
        f"weir-many-{number:03}",
        {
            "Role": world.role,
            "DatabaseName": "world_db",
            "Targets": {"S3Targets": [{"Path": f"s3://{world.bucket}/many/{number}/"}]},
            "TablePrefix": f"crawled__{number:03}__",
        },
    )


def table(world: World, number: int) -> Resource:
    columns = [{"Name": "id", "Type": "bigint"}]
    return Resource(
        "glue.Table",
        "table",
        f"world_db.many_{number:03}",
        {"TableType": "EXTERNAL_TABLE", "StorageDescriptor": {"Columns": columns}},
    )


KINDS = {
    "s3.Object": Economy(
        stored, {"PutObject": 1}, {"Body": "{}"}, {"PutObject": 1}, 1000, tagged=False
    ),
    "iam.Role": Economy(
        role,
        {"CreateRole": 1, "PutRolePolicy": 1},
        {"Description": "other"},
        {"UpdateRole": 1},
        1000,
        tagged=False,
        more=1,  # ListRoles beside GetAccountAuthorizationDetails
    ),
    "logs.LogGroup": Economy(
        group,
        {"CreateLogGroup": 1, "PutRetentionPolicy": 1},
        {"RetentionInDays": 90},
        {"PutRetentionPolicy": 1},
        50,
    ),
    "lambda.Function": Economy(
        function,
        {"CreateFunction": 1},
        {"Timeout": 60},
        {"UpdateFunctionConfiguration": 1, "GetFunction": 4},
        50,
        more=1,  # GetAccountSettings
    ),
    "states.StateMachine": Economy(
        machine,
        {"CreateStateMachine": 1},
        {"definition": {"StartAt": "B", "States": {"B": {"Type": "Succeed"}}}},
        {"UpdateStateMachine": 1},
        1000,
    ),
    "scheduler.Schedule": Economy(
        schedule,
        {"CreateSchedule": 1},
        {"ScheduleExpression": "rate(2 hours)"},
        {"UpdateSchedule": 1},
        100,
        tagged=False,
    ),
    "cloudwatch.Alarm": Economy(
        alarm, {"PutMetricAlarm": 1}, {"Threshold": 2.0}, {"PutMetricAlarm": 1}, 100
    ),
    "dynamodb.Item": Economy(
        item, {"PutItem": 1}, {"Item": {"n": -1}}, {"PutItem": 1}, 100, tagged=False
    ),
    "sns.Topic": Economy(
        topic,
        {"CreateTopic": 1, "Subscribe": 1},
        {"KmsMasterKeyId": "alias/aws/sns"},
        {"SetTopicAttributes": 1},
        100,
    ),
    "glue.Job": Economy(job, {"CreateJob": 1}, {"NumberOfWorkers": 3}, {"UpdateJob": 1}, 1000),
    "glue.Crawler": Economy(
        crawler, {"CreateCrawler": 1}, {"Description": "many"}, {"UpdateCrawler": 1}, 1000
    ),
    "glue.Table": Economy(
        table,
        {"CreateTable": 1},
        {"Description": "many"},
        {"UpdateTable": 1},
        100,
        tagged=False,
    ),
}
"""Kinds of which there is one or more for each source or pipeline: what they cost is what counts."""

A_SOURCE = (
    "s3.Object",
    "iam.Role",
    "logs.LogGroup",
    "lambda.Function",
    "iam.Role",
    "states.StateMachine",
    "scheduler.Schedule",
    "cloudwatch.Alarm",
    "cloudwatch.Alarm",
)
"""What a source with a REST API has."""


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory, credentials: None) -> Iterator[Counted]:
    """A session that is watched, on an account that has nothing else."""
    with LocalAws(tmp_path_factory.mktemp("economy"), region=REGION) as aws:
        yield Counted(aws.endpoint, aws.region)


@pytest.fixture(scope="module")
def world(counted: Counted) -> World:
    """What must be there before."""
    return World.build(counted.session)


def tags_of(resource: Resource) -> dict[str, str]:
    return OWNER.tags if resource.tagged else {}


@dataclass
class Filled:
    """An account with many of a kind, each kind made when it is asked for."""

    counted: Counted
    world: World
    resources: dict[str, list[Resource]] = field(default_factory=dict)
    spent: dict[str, dict[str, int]] = field(default_factory=dict)
    """Calls of the first creation."""

    def of(self, kind: str) -> list[Resource]:
        """Many of one kind."""
        if kind not in self.resources:
            adapter = self.counted.adapters[kind]
            first, *others = [KINDS[kind].make(self.world, number) for number in range(MANY)]
            self.spent[kind] = self.counted.of(lambda: adapter.create(first, tags_of(first)))
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda one: adapter.create(one, tags_of(one)), others))
            self.resources[kind] = [first, *others]
        return self.resources[kind]


@pytest.fixture(scope="module")
def filled(counted: Counted, world: World) -> Filled:
    """An account that fills as it is asked."""
    return Filled(counted, world)


@pytest.mark.parametrize("kind", KINDS)
def test_one_is_made_and_changed_with_the_calls_that_do_it(
    counted: Counted, filled: Filled, kind: str
) -> None:
    case, adapter = KINDS[kind], counted.adapters[kind]
    first = filled.of(kind)[0]
    assert filled.spent[kind] == case.create

    observed = settled(adapter, first.name)
    wanted = replace(first, properties={**first.properties, **case.change})
    changes = [Change(name, None, value) for name, value in case.change.items()]
    spent = counted.of(lambda: adapter.update(wanted, observed, changes, observed.tags))
    assert set(spent) == set(case.update)
    assert all(spent[operation] <= most for operation, most in case.update.items())


@pytest.mark.parametrize("kind", KINDS)
def test_many_are_surveyed_by_pages(counted: Counted, filled: Filled, kind: str) -> None:
    case, adapter = KINDS[kind], counted.adapters[kind]
    names = [one.name for one in filled.of(kind)]
    seen: dict[str, Any] = {}
    calls = counted.of(lambda: seen.update(by_name(adapter.survey(names))))
    assert set(seen) == set(names)
    pages = math.ceil(MANY / case.page) + (math.ceil(MANY / 100) if case.tagged else 0)
    assert sum(calls.values()) <= pages + case.more + 1, calls


PAGE = Path(__file__).parents[3] / "docs/aws-calls.md"
ROW = re.compile(r"^\| `(\w+\.\w+)` \|[^|]*\|([^|]*)\|[^|]*\|([^|]*)\|$", re.MULTILINE)


def test_the_page_says_what_each_kind_costs(counted: Counted) -> None:
    rows = {kind: (page, calls) for kind, page, calls in ROW.findall(PAGE.read_text())}
    assert set(counted.adapters) <= set(rows)
    for kind, case in KINDS.items():
        page, calls = rows[kind]
        first = int(calls.partition(",")[0])
        each = 1 if "for each" in calls else 0
        assert (int(page), first + each) == (case.page, sum(case.create.values())), kind


def test_a_source_costs_at_most_1_6_calls_a_resource() -> None:
    calls = sum(sum(KINDS[kind].create.values()) for kind in A_SOURCE)
    assert calls / len(A_SOURCE) <= 1.6 - 1 / len(A_SOURCE), "one look at the function comes on top"


LISTED = {"ListFunctions", "GetResources", "GetAccountSettings"}
REFUSED = ("iam.Role", "logs.LogGroup", "lambda.Function", "glue.Job", "glue.Table")
"""Kinds whose creation says that the name is taken; others take the same again for the same."""


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_lost_reply_left_is_taken_back_and_compared(
    counted: Counted, world: World, kind: str
) -> None:
    adapter, resource = counted.adapters[kind], KINDS[kind].make(world, MANY + 1)
    adapter.create(resource, OWNER.tags)
    there = settled(adapter, resource.name)

    again = adapter.create(resource, OWNER.tags)

    assert not again.settled
    assert again.detail == "was there already: it is compared next"
    assert (again.properties, again.tags) == (there.properties, there.tags)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_somebody_elses_is_not_taken(counted: Counted, world: World, kind: str) -> None:
    adapter, resource = counted.adapters[kind], KINDS[kind].make(world, MANY + 2)
    adapter.create(resource, {**OWNER.tags, TAG_NAME: "others"})
    with pytest.raises(Conflict):
        adapter.create(resource, OWNER.tags)
    assert settled(adapter, resource.name).tags[TAG_NAME] == "others"


def test_a_schedule_that_is_there_is_taken_back_as_its_name_is_ours(
    counted: Counted, world: World
) -> None:
    adapter, resource = counted.adapters["scheduler.Schedule"], schedule(world, MANY + 1)
    made = adapter.create(resource, {})
    again = adapter.create(resource, {})
    assert (again.settled, again.properties) == (False, made.properties)


@pytest.mark.parametrize("kind", ["lambda.Function", "cloudwatch.Alarm", "iam.Role"])
def test_what_a_page_shows_is_handed_on_before_the_next_page_is_asked_for(
    counted: Counted, filled: Filled, kind: str
) -> None:
    names = [one.name for one in filled.of(kind)]
    survey = iter(counted.adapters[kind].survey(names))
    first = counted.of(lambda: next(survey))
    rest = counted.of(lambda: list(survey))
    paged = KINDS[kind].page < MANY
    assert (sum(rest.values()) > 0) == paged, (first, rest)


def test_a_role_made_during_a_listing_is_not_looked_at_on_its_own(
    counted: Counted, world: World, filled: Filled
) -> None:
    there = [one.name for one in filled.of("iam.Role")]
    late = role(world, MANY + 3)
    iam = AwsSession(counted.session.target).client("iam")
    calls: list[str] = []

    def between(call: Call) -> None:
        calls.append(call.operation)
        if call.operation == "ListRoles":
            trust = json.dumps(late.properties["AssumeRolePolicyDocument"])
            iam.create_role(RoleName=late.name, Path="/weir/test/", AssumeRolePolicyDocument=trust)

    watched = adapters(AwsSession(counted.session.target, observer=between))["iam.Role"]
    seen = by_name(watched.survey([*there, late.name]))
    assert {seen[name].unseen for name in there} == {frozenset()}
    assert seen[late.name].unseen == {"Description", "MaxSessionDuration"}
    assert calls == ["ListRoles", "GetAccountAuthorizationDetails"]


def test_few_names_are_looked_at_and_so_are_fewer_than_the_account_has_pages(
    counted: Counted, filled: Filled
) -> None:
    adapter = counted.adapters["lambda.Function"]
    names = [one.name for one in filled.of("lambda.Function")[:9]]
    list(adapter.survey([one.name for one in filled.of("lambda.Function")]))
    assert counted.of(lambda: list(adapter.survey(names[:3]))) == {"GetFunction": 3}
    assert counted.of(lambda: list(adapter.survey(names[:5]))) == {"GetFunction": 5}
    assert counted.of(lambda: list(adapter.survey(names))).keys() == LISTED
