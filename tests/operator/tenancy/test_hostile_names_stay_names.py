"""Whatever names and texts are made of, they stay names and texts: in policies, ARNs, SQL, state
machines, dashboards and messages."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from weir.blueprint import naming, policies
from weir.resource import Ref, Resource
from weir_contract.codec import ContractError
from weir_contract.compile import literal, quoted
from weir_contract.runs import Failure
from weir_contract.sources import Files
from weir_lambdas.common.failures import MAX_SUBJECT, notice

HOSTILE = (
    "'; drop table payroll.people; --",
    '"; drop table payroll.people; --',
    "a\\' or 1=1 --",
    "${aws:username}",
    "${aws:PrincipalTag/team}",
    "*",
    "?",
    "a/../../b",
    "line\nbreak",
    "name\n",
    "tab\tand\rreturn",
    "\u202eright to left",
    "n\u0303o\u0301 \U0001f4a9",
    "<script>alert(1)</script>",
    "{{ $labels.x }}",
    "{% $states.input %}",
    "$.path",
    "$$.Execution.Id",
    "States.Format('{}', $)",
    "{}",
    "\\",
    "x" * 253,
)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=253))
label = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
subdomain = st.builds(".".join, st.lists(label, min_size=1, max_size=4)).filter(
    lambda name: len(name) <= 253
)
"""Names that the API server takes: of namespaces a label, of objects a subdomain of 253 characters."""

relaxed = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def roles(resources: tuple[Resource, ...]) -> Iterator[Resource]:
    return (one for one in resources if one.kind == "iam.Role")


def statements(resources: tuple[Resource, ...]) -> list[dict[str, Any]]:
    return [
        statement
        for role in roles(resources)
        for document in role.properties["Policies"].values()
        for statement in document["Statement"]
    ]


def as_iam_reads(pattern: str) -> re.Pattern[str]:
    """A resource pattern as IAM matches it: ``*`` and ``?``, and ``${*}`` for the character itself
    (IAM user guide, *Policy variables*)."""
    parts = re.split(r"(\$\{[*?$]\}|[*?])", pattern)
    wild = {"*": ".*", "?": "."}
    return re.compile(
        "".join(wild.get(part) or re.escape(re.sub(r"^\$\{(.)\}$", r"\1", part)) for part in parts),
        re.DOTALL,
    )


# -- policies ----------------------------------------------------------------------------------------


def without_hashes(found: Any) -> Any:
    """A policy with the content addresses taken out, which any text changes."""
    text = json.dumps(found, default=str, sort_keys=True)
    return re.sub(r"-[0-9a-f]{16}\.json", "-HASH.json", text)


@relaxed
@given(text=texts)
def test_what_a_request_says_changes_no_policy(make_world: Callable[..., Any], text: str) -> None:
    """Headers, parameters and bodies without a reference are the source's business alone."""
    if "${SECRET:" in text:
        return

    def source(value: str) -> tuple[Resource, ...]:
        rest = {
            "endpoint": "https://api.example.com/customers",
            "method": "POST",
            "schedule": "rate(1 hour)",
            "headers": {"X-Any": value},
            "params": {"any": value},
            "body": {"any": [value]},
        }
        found: tuple[Resource, ...] = make_world(
            source_spec={"source": {"restApi": rest}}
        ).source_resources()
        return found

    hostile, plain = source(text), source("plain")
    assert without_hashes(statements(hostile)) == without_hashes(statements(plain))
    for one in hostile:
        if one.kind == "states.StateMachine":
            definition = one.properties["definition"]
            assert json.loads(json.dumps(definition)) == definition
            assert without_hashes(definition) == without_hashes(
                next(
                    two.properties["definition"]
                    for two in plain
                    if two.logical_id == one.logical_id
                )
            )


@relaxed
@given(text=texts)
def test_what_an_unload_selects_changes_no_policy_and_no_state(
    make_world: Callable[..., Any], text: str
) -> None:
    def pipeline(query: str) -> tuple[Resource, ...]:
        stage = {"name": "out", "unload": {"query": query, "to": "${BUCKET:curated}/customers/"}}
        found: tuple[Resource, ...] = make_world(
            pipeline_spec={"stages": [stage]}
        ).pipeline_resources()
        return found

    query = "select " + literal(text)
    hostile, plain = pipeline(query), pipeline("select 1")
    assert without_hashes(statements(hostile)) == without_hashes(statements(plain))
    states = [
        [
            without_hashes(one.properties["definition"])
            for one in found
            if "definition" in one.properties
        ]
        for found in (hostile, plain)
    ]
    assert states[0] == states[1]


@relaxed
@given(names=st.lists(st.tuples(label, subdomain), min_size=2, max_size=2, unique=True))
@example(names=[("team", "orders"), ("team", "orders.old")])
@example(names=[("team", "orders"), ("team-a", "orders")])
@example(names=[("team", "a" * 253), ("team", "a" * 252 + "b")])
def test_a_source_reaches_no_record_and_no_state_of_another(
    make_world: Callable[..., Any], names: list[tuple[str, str]]
) -> None:
    world = make_world()
    (namespace, name), (other_namespace, other_name) = names
    document = policies.ingestion(
        world.facts,
        source=f"{namespace}/{name}",
        function="f",
        config_key=f"config/{namespace}/source/{name}.json",
        secrets=[],
    )
    record = world.facts.bucket_arn("raw", f"{other_namespace}/{other_name}/date=2026-01-01/part")
    config = world.facts.bucket_arn(
        "artifacts", f"config/{other_namespace}/source/{other_name}.json"
    )
    for statement in document["Statement"]:
        if "s3:GetObject" in statement["Action"] or "s3:PutObject" in statement["Action"]:
            for pattern in statement["Resource"]:
                assert not as_iam_reads(pattern).fullmatch(record)
                assert not as_iam_reads(pattern).fullmatch(config)
        keys = statement.get("Condition", {}).get("ForAllValues:StringLike", {})
        for pattern in keys.get("dynamodb:LeadingKeys", ()):
            assert not fnmatch.fnmatchcase(f"SOURCE#{other_namespace}/{other_name}", pattern)


@relaxed
@given(prefix=st.text(max_size=60), key=st.text(max_size=60))
@example(prefix="in*/", key="inside/secret")
@example(prefix="${aws:username}/", key="bob/x")
@example(prefix="a?/", key="ab/x")
@example(prefix="$", key="")
def test_a_watched_prefix_is_no_pattern(
    make_world: Callable[..., Any], prefix: str, key: str
) -> None:
    files = Files(bucket="team-drop", prefix=prefix)
    (read, _, _) = policies.reads_files(make_world().facts, "team/orders", files)
    (pattern,) = read["Resource"]
    reader = as_iam_reads(pattern)
    assert reader.fullmatch(f"arn:aws:s3:::team-drop/{prefix}{key}")
    allowed = bool(reader.fullmatch(f"arn:aws:s3:::team-drop/{key}"))
    assert allowed is key.startswith(prefix)


def test_no_role_of_an_object_holds_a_pattern_but_at_the_end(
    make_world: Callable[..., Any],
) -> None:
    """A star in the middle of a resource would take other tenants' names in."""
    world = make_world()
    for statement in statements((*world.source_resources(), *world.pipeline_resources())):
        for pattern in statement["Resource"]:
            if isinstance(pattern, Ref) or pattern == "*":
                continue  # Each action that takes no resource is listed in policies.UNSCOPED.
            inside = pattern.rstrip("*?:").removesuffix("-")
            assert not set("*?") & set(inside), (statement["Sid"], pattern)
            assert "${" not in inside


# -- names -------------------------------------------------------------------------------------------


@given(kind=st.sampled_from(sorted(naming.ALPHABETS)), one=texts, other=texts)
def test_a_physical_name_is_of_its_services_alphabet_and_its_own(
    kind: str, one: str, other: str
) -> None:
    alphabet = naming.ALPHABETS[kind]
    first = naming.physical(kind, "prod", "team", one, role="ingest")
    second = naming.physical(kind, "prod", "team", other, role="ingest")
    for name in (first, second):
        assert len(name) <= alphabet.limit
        assert not re.search(alphabet.forbidden, name)
        assert name.isascii() and name == name.strip()
    assert (first == second) is (one == other)


@pytest.mark.parametrize("cluster", ["prod\n", "prod;", "", "-prod", "p" * 17, "Prod", "prod*"])
def test_a_cluster_id_is_refused_that_is_none(cluster: str) -> None:
    with pytest.raises(ValueError, match="cluster id"):
        naming.physical("role", cluster, "team", role="ingest")


# -- SQL ---------------------------------------------------------------------------------------------


@given(text=texts)
def test_an_identifier_is_refused_or_stays_one(text: str) -> None:
    try:
        written = quoted(text)
    except ContractError:
        return
    parsed = sqlglot.parse_one(f"select 1 from {written}", read="redshift")
    (table,) = parsed.find_all(exp.Table)
    assert table.name == text.lower()
    assert re.fullmatch(r'"[a-z_][a-z0-9_$]*"', written)


@given(text=texts)
def test_a_text_in_sql_stays_a_text(text: str) -> None:
    """Redshift reads a backslash as an escape; so does the local one, told by E."""
    if "\0" in text:
        return
    ((value,),) = duckdb.sql(f"select E{literal(text)}").fetchall()
    assert value == text
    parsed = sqlglot.parse(f"select {literal(text)}", read="redshift")
    assert len(parsed) == 1


# -- what people read ----------------------------------------------------------------------------------


@given(name=subdomain, namespace=label, error=texts, message=texts)
def test_a_subject_is_one_line_that_sns_takes(
    name: str, namespace: str, error: str, message: str
) -> None:
    told = notice(
        "DataSource", f"{namespace}/{name}", "r1", Failure("land", error, message, "do this")
    )
    subject = told["subject"]
    assert 0 < len(subject) <= MAX_SUBJECT
    assert subject.isascii() and subject.isprintable()


@relaxed
@given(namespace=label, name=subdomain)
def test_a_dashboard_has_the_objects_own_metrics_alone(
    make_world: Callable[..., Any], namespace: str, name: str
) -> None:
    from weir.blueprint.dashboard import dashboard_body
    from weir.blueprint.uses import NamespaceUse

    body = dashboard_body(make_world().facts, NamespaceUse(namespace, (name,), (name,)))
    assert json.loads(json.dumps(body)) == body
    for widget in body["widgets"]:
        for metric in widget["properties"].get("metrics", ()):
            assert metric[0] == make_world().facts.metrics_namespace
            assert metric[2:4] == ["Namespace", namespace]
            assert metric[5] == name


@relaxed
@given(value=st.text(max_size=256))
def test_a_platforms_tags_reach_aws_as_they_are(make_world: Callable[..., Any], value: str) -> None:
    """Tags are the owner's; what they hold is data, in every resource."""
    world = make_world({"tags": {"team": value}})
    assert world.facts.tags["team"] == value
    assert without_hashes(statements(world.source_resources())) == without_hashes(
        statements(make_world().source_resources())
    )
