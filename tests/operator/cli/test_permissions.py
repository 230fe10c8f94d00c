"""What a plan says of permissions, against a small judge that reads policies as IAM does."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from weir.cli.permissions import compare, grown, lost_actions, pattern_covers
from weir.reconcile.plan import Action, Verb
from weir.resource import UNKNOWN, Observed, Resource

ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:*", "s3:Get*", "*", "glue:StartJobRun")
RESOURCES = ("arn:aws:s3:::a/x", "arn:aws:s3:::a/*", "arn:aws:s3:::b/?", "*")
PRINCIPALS = ("arn:aws:iam::111111111111:role/a", "222222222222", "*")
VALUES = ("one", "two", "three")

conditions = st.dictionaries(
    st.sampled_from(
        ("StringEquals", "StringNotEquals", "StringLike", "ForAnyValue:StringEquals", "Null")
    ),
    st.dictionaries(
        st.sampled_from(("aws:a", "aws:b")),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True),
        min_size=1,
        max_size=2,
    ),
    max_size=2,
)


@st.composite
def statements(draw: st.DrawFn, principal: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": draw(st.sampled_from(("Allow", "Allow", "Deny")))}
    for name, items in (("Action", ACTIONS), ("Resource", RESOURCES)):
        negated = draw(st.integers(0, 5)) == 0
        some = draw(st.lists(st.sampled_from(items), min_size=1, max_size=3, unique=True))
        made[f"Not{name}" if negated else name] = some if len(some) > 1 else some[0]
    if principal:
        made["Principal"] = {"AWS": draw(st.sampled_from(PRINCIPALS))}
    found = draw(conditions)
    if found:
        made["Condition"] = found
    return made


def documents(principal: bool) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(statements(principal), max_size=4).map(
        lambda found: [{"Version": "2012-10-17", "Statement": found}]
    )


requests = st.fixed_dictionaries(
    {
        "action": st.sampled_from(("s3:GetObject", "s3:PutObject", "glue:StartJobRun", "kms:Sign")),
        "resource": st.sampled_from(
            ("arn:aws:s3:::a/x", "arn:aws:s3:::a/y", "arn:aws:s3:::b/x", "arn:aws:s3:::b/xx")
        ),
        "principal": st.sampled_from((*PRINCIPALS[:2], "arn:aws:iam::333333333333:role/c")),
        "context": st.dictionaries(st.sampled_from(("aws:a", "aws:b")), st.sampled_from(VALUES)),
    }
)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def globbed(pattern: str, text: str, *, fold: bool = False) -> bool:
    parts = [re.escape(part) for part in re.split(r"([*?])", pattern)]
    rule = "".join({"\\*": ".*", "\\?": "."}.get(part, part) for part in parts)
    return re.fullmatch(rule, text, re.IGNORECASE if fold else 0) is not None


def side_holds(statement: dict[str, Any], name: str, text: str, *, fold: bool = False) -> bool:
    if f"Not{name}" in statement:
        return not any(globbed(one, text, fold=fold) for one in listed(statement[f"Not{name}"]))
    return any(globbed(one, text, fold=fold) for one in listed(statement[name]))


def condition_holds(operator: str, key: str, values: list[str], context: dict[str, str]) -> bool:
    """IAM user guide, "Condition operators": a key that is missing fails, but for negated ones."""
    if operator == "Null":
        return (key not in context) == ("true" in values)
    if operator == "StringNotEquals":
        return context.get(key) not in values
    return context.get(key) in values


def holds(statement: dict[str, Any], request: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    return (
        (principal is None or principal["AWS"] in ("*", request["principal"]))
        and side_holds(statement, "Action", request["action"], fold=True)
        and side_holds(statement, "Resource", request["resource"])
        and all(
            condition_holds(operator, key, values, request["context"])
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def allows(found: list[dict[str, Any]], request: dict[str, Any]) -> bool:
    """IAM's rule: an explicit deny wins, and without an allow nothing is allowed."""
    effects = {
        statement["Effect"]
        for document in found
        for statement in document["Statement"]
        if holds(statement, request)
    }
    return "Allow" in effects and "Deny" not in effects


@settings(max_examples=400, deadline=None)
@given(documents(principal=False), documents(principal=False), requests)
def test_a_request_that_becomes_allowed_is_always_told(before, after, request) -> None:
    if allows(after, request) and not allows(before, request):
        assert compare(before, after, "policy")


@settings(max_examples=200, deadline=None)
@given(documents(principal=True), documents(principal=True), requests)
def test_a_principal_that_becomes_allowed_is_always_told(before, after, request) -> None:
    if allows(after, request) and not allows(before, request):
        assert compare(before, after, "trust")


@settings(max_examples=80, deadline=None)
@given(documents(principal=False), st.randoms(use_true_random=False))
def test_another_order_or_spelling_of_the_same_is_no_growth(found, random) -> None:
    shuffled = []
    for statement in found[0]["Statement"]:
        other = dict(statement)
        for name in ("Action", "NotAction"):
            if name in other:
                items = [one.lower() for one in listed(other[name])]
                random.shuffle(items)
                other[name] = items
        shuffled.append(other)
    random.shuffle(shuffled)
    documents = [{"Version": "2012-10-17", "Statement": [one]} for one in shuffled]
    assert compare(found, documents, "policy") == ()
    assert compare(documents, found, "policy") == ()


@settings(max_examples=80, deadline=None)
@given(documents(principal=False), st.integers(0, 3))
def test_an_allow_that_goes_is_no_growth_and_a_deny_that_goes_is_told(found, number) -> None:
    before = found[0]["Statement"]
    if number >= len(before):
        return
    gone = before[number]
    rest = [{"Version": "2012-10-17", "Statement": before[:number] + before[number + 1 :]}]
    told = compare(found, rest, "policy")
    if gone["Effect"] == "Allow":
        assert told == ()
    else:
        others = [one for one in rest[0]["Statement"] if one["Effect"] == "Deny"]
        assert told or others


@settings(max_examples=200, deadline=None)
@given(
    st.text("ab*?", max_size=6),
    st.text("ab*?", max_size=6),
    st.text("ab", max_size=6),
)
def test_a_pattern_covers_another_only_if_it_matches_all_that_the_other_matches(
    wide, narrow, text
) -> None:
    if pattern_covers(wide, narrow) and globbed(narrow, text):
        assert globbed(wide, text)
    assert pattern_covers(wide, wide)
    assert pattern_covers("*", narrow)


def role(policies: Any = None, trust: Any = None, **more: Any) -> dict[str, Any]:
    statements = policies if policies is not None else []
    return {
        "Policies": {"weir": {"Version": "2012-10-17", "Statement": statements}},
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": trust if trust is not None else [],
        },
        **more,
    }


def update(before: dict[str, Any] | None, after: dict[str, Any], kind: str = "iam.Role") -> Action:
    return Action(
        Verb.CREATE if before is None else Verb.UPDATE,
        kind,
        "role",
        "r",
        resource=Resource(kind, "role", "r", after),
        observed=None if before is None else Observed("r", before),
    )


READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a/*"}


def test_only_the_new_actions_and_resources_are_told_in_their_own_spelling() -> None:
    more = {**READ, "Action": ["s3:GetObject", "s3:PutObject"]}
    assert [str(one) for one in grown(update(role([READ]), role([more])))] == [
        "s3:PutObject on arn:aws:s3:::a/*"
    ]
    within = {**READ, "Resource": "arn:aws:s3:::a/b/*"}
    assert grown(update(role([READ]), role([READ, within]))) == ()


def test_a_condition_that_goes_and_a_value_that_comes_are_growth() -> None:
    bound = {**READ, "Condition": {"StringEquals": {"aws:SourceAccount": ["1", "2"]}}}
    wider = {**READ, "Condition": {"StringEquals": {"aws:SourceAccount": ["1", "2", "3"]}}}
    assert grown(update(role([READ]), role([bound]))) == ()
    assert grown(update(role([wider]), role([bound]))) == ()
    assert "if StringEquals aws:sourceaccount 1 or 2 or 3" in str(
        grown(update(role([bound]), role([wider])))[0]
    )
    assert [one.condition for one in grown(update(role([bound]), role([READ])))] == [""]


def test_a_wider_trust_and_a_new_principal_are_growth() -> None:
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }
    wider = {**trust, "Principal": {"Service": ["lambda.amazonaws.com", "glue.amazonaws.com"]}}
    found = grown(update(role([], [trust]), role([], [wider])))
    assert [str(one) for one in found] == ["sts:AssumeRole by Service:glue.amazonaws.com"]
    assert found[0].document == "trust"
    anyone = {**trust, "Principal": "*"}
    assert grown(update(role([], [trust]), role([], [anyone])))
    assert grown(update(role([], [wider]), role([], [trust]))) == ()


def test_key_and_queue_policies_count_too() -> None:
    statement = {**READ, "Action": "kms:Decrypt", "Resource": "*", "Principal": {"AWS": "1" * 12}}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    empty = {"Version": "2012-10-17", "Statement": []}
    for kind, name in (("kms.Key", "KeyPolicy"), ("sqs.Queue", "Policy"), ("sns.Topic", "Policy")):
        found = grown(update({name: empty}, {name: document}, kind))
        assert [one.document for one in found] == ["resource policy"]
        assert "by AWS:111111111111" in str(found[0])


def test_a_managed_policy_and_a_lifted_boundary_are_growth() -> None:
    found = grown(update(role(ManagedPolicyArns=[]), role(ManagedPolicyArns=["arn:x"])))
    assert [str(one) for one in found] == ["managed policy attached: arn:x"]
    found = grown(update(role(PermissionsBoundary="arn:b"), role()))
    assert [str(one) for one in found] == ["permissions boundary lifted: arn:b"]
    assert grown(update(role(), role(PermissionsBoundary="arn:b"))) == ()


def test_a_new_role_grows_by_all_it_may_and_an_unknown_policy_by_nothing_that_can_be_told() -> None:
    assert [str(one) for one in grown(update(None, role([READ])))] == [
        "s3:GetObject on arn:aws:s3:::a/*"
    ]
    assert grown(update(role([READ]), {"Policies": UNKNOWN})) == ()


def test_an_action_that_a_role_loses_altogether_is_known() -> None:
    assert lost_actions(update(role([READ]), role([]))) == {"s3:GetObject"}
    elsewhere = {**READ, "Resource": "arn:aws:s3:::b/*"}
    assert lost_actions(update(role([READ]), role([elsewhere]))) == frozenset()
    assert lost_actions(update(role([READ]), role([{**READ, "Action": "s3:*"}]))) == frozenset()
