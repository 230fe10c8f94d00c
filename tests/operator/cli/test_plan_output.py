"""A plan as text, JSON and Markdown: complete, bounded, and nothing of it taken for markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weir.cli.effects import cost, disturbance
from weir.cli.plan import Planned
from weir.cli.plan_json import as_json
from weir.cli.plan_markdown import LIMIT, markdown
from weir.cli.plan_report import differences, exit_code, report, summary
from weir.cli.plan_text import text
from weir.kube.keys import Key
from weir.reconcile.plan import Action, Plan, Verb
from weir.resource import UNKNOWN, Change, Observed, Owner, Resource

ROOT = Path(__file__).parents[3]
VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((ROOT / "docs" / "plan.schema.json").read_text())
)
OWNER = Owner("c", "DataSource", "sales", "customers", "u")
KINDS = (
    "glue.Job", "iam.Role", "kms.Key", "lambda.Function", "s3.Object", "scheduler.Schedule",
    "states.StateMachine", "sqs.Queue", "cloudwatch.Alarm",
)  # fmt: skip


def action(verb: Verb, kind: str = "glue.Job", name: str = "job", **more: Any) -> Action:
    return Action(verb, kind, "id", name, **more)


def planned(*actions: Action, name: str = "customers", **more: Any) -> Planned:
    return Planned(Key("DataSource", "sales", name), True, Plan(OWNER, actions), **more)


values = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.integers(),
    st.lists(st.text(max_size=10), max_size=3),
    st.just(UNKNOWN),
    st.just("`````` | </details> @everyone <img src=x> [a](b)\n# head"),
)


@st.composite
def actions(draw: st.DrawFn) -> Action:
    verb = draw(st.sampled_from(Verb))
    kind = draw(st.sampled_from(KINDS))
    return action(
        verb,
        kind,
        draw(st.text(min_size=1, max_size=60)),
        resource=Resource(kind, "id", "n", {}),
        observed=Observed("n", {}),
        changes=tuple(
            Change(draw(st.text("abc.", min_size=1, max_size=20)), draw(values), draw(values))
            for _ in range(draw(st.integers(0, 3)))
        ),
        loses_data=draw(st.booleans()),
        reason=draw(st.text(max_size=60)),
    )


@st.composite
def plans(draw: st.DrawFn) -> list[Planned]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        name = f"n{number}"
        if draw(st.integers(0, 5)) == 0:
            key = Key("Pipeline", "sales", name)
            found.append(Planned(key, True, None, "Conflict", draw(st.text(max_size=80))))
            continue
        some = draw(st.lists(actions(), max_size=4))
        found.append(planned(*some, name=name, running=draw(st.sampled_from([None, 0, 2]))))
    return found


@settings(max_examples=60, deadline=None)
@given(plans())
def test_json_is_what_its_schema_says_and_agrees_with_the_exit_code(found) -> None:
    printed = json.loads(json.dumps(as_json(found)))
    VALIDATOR.validate(printed)
    code = exit_code(found)
    assert printed["failed"] == (code == 1)
    assert code == 1 or printed["changes"] == (code == 2)
    assert sum(printed["summary"][verb.value] for verb in Verb if verb is not Verb.NONE) == sum(
        line["action"] != "none" for one in printed["objects"] for line in one["actions"]
    )


@settings(max_examples=60, deadline=None)
@given(plans(), st.integers(1, 400))
def test_markdown_never_outgrows_a_comment_and_its_folds_close(found, times) -> None:
    many = [
        Planned(Key(one.key.kind, one.key.namespace, f"{one.key.name}-{number}"), *rest)
        for number in range(times)
        for one in found
        for rest in [(one.asked, one.plan, one.reason, one.message)]
    ]
    printed = markdown(report(many))
    assert len(printed.encode()) <= LIMIT
    fences = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", printed, flags=re.DOTALL | re.MULTILINE)
    assert fences.count("<details>") == fences.count("</details>")
    outside = re.sub(r"(`+).*?\1", "", fences, flags=re.DOTALL)
    assert "@everyone" not in outside
    assert "<img" not in outside


def test_what_does_not_fit_is_counted() -> None:
    change = Change("Definition", "a" * 350, "b" * 350)
    many = [
        planned(*[action(Verb.UPDATE, name=f"job-{i}", changes=(change,))] * 8, name=f"source-{i}")
        for i in range(400)
    ]
    printed = markdown(report(many))
    assert len(printed.encode()) <= LIMIT
    assert "3200 to update in place" in printed
    assert "left out for length" in printed
    assert re.search(r"_\d+ objects more: `weir plan -o text` has them all\._", printed)


def test_an_empty_plan_is_one_sentence_everywhere() -> None:
    assert text(()) == "No changes: AWS is as it should be."
    assert markdown(()) == "### Weir plan\n\n**No changes: AWS is as it should be.**"
    assert as_json([])["objects"] == [] and exit_code([]) == 0


def test_text_says_what_is_lost_disturbed_gained_and_billed() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:x"}
    policies = {"weir": {"Version": "2012-10-17", "Statement": [statement]}}
    found = [
        planned(
            action(Verb.DELETE, "redshift.Table", "sales.t", loses_data=True),
            action(Verb.DELETE, "states.StateMachine", "machine"),
            action(
                Verb.UPDATE,
                "glue.Job",
                changes=(Change("NumberOfWorkers", 2, 20),),
            ),
            action(
                Verb.CREATE,
                "iam.Role",
                "role",
                resource=Resource("iam.Role", "id", "role", {"Policies": policies}),
            ),
            running=2,
        )
    ]
    printed = text(report(found))
    assert "- redshift.Table sales.t: delete  DATA IS LOST" in printed
    assert "runs: executions under way end (2 executions now)" in printed
    assert "cost: NumberOfWorkers: 2 -> 20" in printed
    assert "gains policy: s3:GetObject on arn:x" in printed
    assert printed.splitlines()[-1] == (
        "Plan: 1 to create, 1 to update in place, 2 to delete; 1 LOSE DATA; 2 may interrupt runs; "
        "1 new permissions."
    )
    assert "\x1b" not in printed
    coloured = text(report(found), colour=True)
    assert "\x1b[1;31m" in coloured and re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed


def widget(title: str, *sources: str) -> dict[str, Any]:
    metrics = [["Weir", "Rows", "Source", one] for one in sources]
    return {"x": 0, "y": 2, "type": "metric", "properties": {"title": title, "metrics": metrics}}


def test_of_lists_of_alike_items_only_what_differs_is_shown_with_its_place() -> None:
    before = [widget("Rows", "a"), widget("Failures", "a")]
    after = [widget("Rows", "a", "b"), widget("Failures", "a")]
    change = Change("DashboardBody.widgets", before, after)
    told = text(report([planned(action(Verb.UPDATE, changes=(change,)))]))
    assert "DashboardBody.widgets[0].properties.metrics:" in told
    assert '+ ["Weir", "Rows", "Source", "b"]' in told
    assert "Failures" not in told and "title" not in told


def test_items_that_are_others_are_shown_whole() -> None:
    before, after = [{"Sid": "A", "Action": "x"}], [{"Sid": "B", "Action": "y"}]
    change = Change("Policies.weir.Statement", before, after)
    told = text(report([planned(action(Verb.UPDATE, changes=(change,)))]))
    assert "Statement:" in told and "Statement[0]" not in told


documents = st.recursive(
    st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
"""Without null: for a diff it is what is absent."""


@given(documents, documents)
def test_what_differs_is_always_shown(before: Any, after: Any) -> None:
    assume(before != after)
    found = differences(action(Verb.UPDATE, changes=(Change("Body", before, after),)))
    assert found and all(one.before != one.after for one in found)


def test_nobody_is_warned_of_runs_where_none_is_under_way() -> None:
    gone = action(Verb.DELETE, "states.StateMachine", "machine")
    assert summary(report([planned(gone, running=0)])).interrupts == 0
    assert summary(report([planned(gone, running=None)])).interrupts == 1


def test_an_object_that_is_only_looked_at_is_not_shown() -> None:
    still = Planned(Key("Platform", "", "p"), False, Plan(OWNER, (action(Verb.NONE),)))
    assert report([still]) == ()


@pytest.mark.parametrize(
    ("found", "stops"),
    [
        (action(Verb.REPLACE, "states.StateMachine"), True),
        (action(Verb.UPDATE, "states.StateMachine", changes=(Change("definition", 1, 2),)), None),
        (action(Verb.DELETE, "lambda.Function"), True),
        (action(Verb.UPDATE, "lambda.Function", changes=(Change("MemorySize", 1, 2),)), None),
        (action(Verb.REPLACE, "lambda.EventSourceMapping"), False),
        (action(Verb.UPDATE, "glue.Job", changes=(Change("WorkerType", "a", "b"),)), True),
        (action(Verb.UPDATE, "glue.Job", changes=(Change("Description", "a", "b"),)), None),
        (action(Verb.DELETE, "scheduler.Schedule"), False),
        (
            action(
                Verb.UPDATE, "scheduler.Schedule", changes=(Change("State", "ENABLED", "DISABLED"),)
            ),
            False,
        ),
        (
            action(
                Verb.UPDATE, "scheduler.Schedule", changes=(Change("State", "DISABLED", "ENABLED"),)
            ),
            None,
        ),
        (action(Verb.CREATE, "glue.Job"), None),
    ],
)
def test_what_disturbs_runs(found: Action, stops: bool | None) -> None:
    judged = disturbance(found)
    assert (judged.stops if judged else None) == stops


def test_what_bears_on_the_bill() -> None:
    assert cost(action(Verb.CREATE, "kms.Key")) == ("adds a key, billed by the month",)
    assert cost(action(Verb.DELETE, "cloudwatch.Alarm")) == ("ends an alarm, billed by the month",)
    more = action(Verb.UPDATE, "lambda.Function", changes=(Change("MemorySize", 512, 3008),))
    assert cost(more) == ("MemorySize: 512 -> 3008",)
    assert cost(action(Verb.UPDATE, "lambda.Function", changes=(Change("Role", "a", "b"),))) == ()
    several = summary(report([planned(action(Verb.CREATE, "cloudwatch.Alarm"))] * 3))
    assert "standing cost of +3 cloudwatch.Alarm" in str(several)
