"""Pages of a listing while things come and go: what is there all the time is listed, once."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from aws_makers import trust, unique
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from ministack.core.responses import AccountScopedDict

from weir_local.aws.listings import look_through, page_of
from weir_local.aws.server import EndpointSession
from weir_local.aws.stores import Ordered, keys_after, only

NAMES = st.text("abc/-", min_size=1, max_size=4)
CHANGES = st.lists(st.tuples(st.booleans(), NAMES), max_size=4)


def store_of(names: set[str]) -> Any:
    store = AccountScopedDict()
    store._data = Ordered()
    for name in names:
        store[name] = name
    return store


@given(
    kept=st.sets(NAMES, max_size=12),
    gone=st.sets(NAMES, max_size=6),
    size=st.integers(1, 5),
    changes=st.lists(CHANGES, max_size=12),
    shown=st.sets(NAMES, max_size=12),
)
def test_what_is_there_all_the_time_is_in_one_page_once(
    kept: set[str], gone: set[str], size: int, changes: list[Any], shown: set[str]
) -> None:
    store = store_of(kept | gone)
    hidden = shown - kept

    def render(keys: list[str]) -> list[tuple[str, str]]:
        return [(key, key) for key in keys if key not in hidden]

    seen: list[str] = []
    token, turns = "", iter(changes)
    while True:
        page, token = page_of([look_through(store, "", render)], token, size, 3)
        assert len(page) <= size
        seen += page
        if not token:
            break
        assert len(page) == size
        for comes, name in next(turns, ()):
            if comes:
                store[name] = name
            elif name not in kept:
                store.pop(name, None)
    assert seen == sorted(set(seen))
    assert kept - hidden <= set(seen)


@given(
    first=st.sets(NAMES, max_size=8),
    second=st.sets(NAMES, max_size=8),
    size=st.integers(1, 5),
)
def test_lists_in_turn_are_one_listing_and_no_page_is_empty(
    first: set[str], second: set[str], size: int
) -> None:
    looks = [
        look_through(store_of(names), "", lambda keys, at=at: [(key, (at, key)) for key in keys])
        for at, names in enumerate((first, second))
    ]
    pages, token = [], ""
    while True:
        page, token = page_of(looks, token, size, 4)
        pages.append(page)
        if not token:
            break
    assert [item for page in pages for item in page] == [
        (at, name) for at, names in enumerate((first, second)) for name in sorted(names)
    ]
    assert all(len(page) == size for page in pages[:-1])
    assert pages[-1] or not first | second


@given(changes=st.lists(st.tuples(st.sampled_from("+-spu"), NAMES), max_size=30), prefix=NAMES)
def test_a_store_knows_its_keys_in_order_whatever_was_done_to_it(
    changes: list[tuple[str, str]], prefix: str
) -> None:
    store, plain = store_of(set()), AccountScopedDict()
    for how, name in changes:
        for one in (store, plain):
            if how == "+":
                one[name] = name
            elif how == "s":
                one.setdefault(name, name)
            elif how == "u":
                one.update({name: name})
            elif how == "p":
                one.pop(name, None)
            elif name in one:
                del one[name]
    assert dict(store.items()) == dict(plain.items())
    names = sorted(name for name in plain if name.startswith(prefix))
    assert keys_after(store, "", prefix, 100) == names
    assert [keys_after(store, name, prefix, 1) for name in names] == [
        [name] for name in names[1:]
    ] + [[] for _ in names[:1]]
    assert [keys_after(store, name, prefix, 1, itself=True) for name in names] == [
        [name] for name in names
    ]


def test_a_walk_sees_what_is_shown_and_a_name_finds_everything() -> None:
    store = store_of({"a", "b", "c"})
    with only([(store, ["b", "never"])]):
        assert (list(store), store.keys(), store.values(), len(store)) == (["b"], ["b"], ["b"], 1)
        assert store["a"] == "a"
        assert "c" in store
        with only([(store, [])]):
            assert not store
    assert sorted(store) == ["a", "b", "c"]
    assert deepcopy(store).items() == store.items()


def test_a_page_looks_at_what_it_holds_and_at_one_more() -> None:
    store = store_of({f"{number:05}" for number in range(10_000)})
    looked: list[str] = []

    def render(keys: list[str]) -> list[tuple[str, str]]:
        looked.extend(keys)
        return [(key, key) for key in keys]

    page, token = page_of([look_through(store, "", render)], "", 100, 1000)
    page, token = page_of([look_through(store, "", render)], token, 100, 1000)
    assert page == [f"{number:05}" for number in range(100, 200)]
    assert len(looked) == 2 * 101


@dataclass(frozen=True)
class Listed:
    """How things of a kind are made, removed and listed, three a page."""

    service: str
    operation: str
    items: str
    name: str
    size: str
    token: str
    following: str
    make: Callable[[Any, str], Any]
    remove: Callable[[Any, str], Any]
    only: Callable[[str], dict[str, Any]]


KINDS = {
    "roles": Listed(
        "iam",
        "list_roles",
        "Roles",
        "RoleName",
        "MaxItems",
        "Marker",
        "Marker",
        lambda client, name: client.create_role(
            RoleName=name,
            Path=f"/{name.rpartition('-')[0]}/",
            AssumeRolePolicyDocument=trust("lambda.amazonaws.com"),
        ),
        lambda client, name: client.delete_role(RoleName=name),
        lambda prefix: {"PathPrefix": f"/{prefix}/"},
    ),
    "log groups": Listed(
        "logs",
        "describe_log_groups",
        "logGroups",
        "logGroupName",
        "limit",
        "nextToken",
        "nextToken",
        lambda client, name: client.create_log_group(logGroupName=name),
        lambda client, name: client.delete_log_group(logGroupName=name),
        lambda prefix: {"logGroupNamePrefix": f"{prefix}-"},
    ),
    "alarms": Listed(
        "cloudwatch",
        "describe_alarms",
        "MetricAlarms",
        "AlarmName",
        "MaxRecords",
        "NextToken",
        "NextToken",
        lambda client, name: client.put_metric_alarm(
            AlarmName=name,
            Namespace="N",
            MetricName="M",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
        ),
        lambda client, name: client.delete_alarms(AlarmNames=[name]),
        lambda prefix: {"AlarmNamePrefix": f"{prefix}-"},
    ),
}


@pytest.mark.aws
@pytest.mark.parametrize("kind", KINDS)
def test_a_listing_goes_on_behind_its_page_whatever_went_before(
    admin: EndpointSession, kind: str
) -> None:
    listed = KINDS[kind]
    client, prefix = admin.client(listed.service), unique("paged")
    for letter in "bcdefgh":
        listed.make(client, f"{prefix}-{letter}")

    def page(token: str = "") -> tuple[list[str], str]:
        asked = {**listed.only(prefix), listed.size: 3}
        more = {listed.token: token} if token else {}
        answer = getattr(client, listed.operation)(**asked, **more)
        names = [item[listed.name].rpartition("-")[2] for item in answer[listed.items]]
        return names, answer.get(listed.following, "")

    first, token = page()
    assert first == ["b", "c", "d"]
    listed.remove(client, f"{prefix}-c")
    listed.remove(client, f"{prefix}-d")
    listed.make(client, f"{prefix}-a")
    second, token = page(token)
    assert second == ["e", "f", "g"]
    listed.remove(client, f"{prefix}-e")
    assert page(token) == (["h"], "")


@pytest.mark.aws
def test_a_token_that_no_page_gave_is_refused(admin: EndpointSession) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        admin.client("scheduler").list_schedules(NextToken="nonsense")
    with pytest.raises(ClientError, match="ValidationError"):
        admin.client("iam").list_roles(Marker="nonsense")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        admin.client("resourcegroupstaggingapi").get_resources(PaginationToken="nonsense")
