"""Listings give what AWS's give: no more at once, no fewer, and the tags of every service.

Page sizes are those of the operations' pages in the API references (``MaxResults`` and its kin). The
Resource Groups Tagging API knows state machines, alarms, log groups, secrets and event source
mappings too ("Services that support the Resource Groups Tagging API").
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.etree import ElementTree

from weir_local.aws.stores import keys_after, only
from weir_local.aws.wire import Reply, json_error, xml_error

IAM = "https://iam.amazonaws.com/doc/2010-05-08/"
IAM_LISTS = {
    "ListRoles": (("Roles", "_roles", "RoleName", ()),),
    "GetAccountAuthorizationDetails": (
        ("UserDetailList", "_users", "UserName", ("_groups",)),
        ("GroupDetailList", "_groups", "GroupName", ()),
        ("RoleDetailList", "_roles", "RoleName", ()),
        ("Policies", "_policies", "Arn", ()),
    ),
}
"""Operation -> its lists in turn: element, store, the field of a member that is its key, and the
other stores that its members are found in."""
IAM_DEFAULT, IAM_MOST = 100, 1000
TAGGED_DEFAULT, TAGGED_MOST = 50, 100
ALARMS_DEFAULT = 50

STATES_OF_A_FUNCTION = (
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "RuntimeVersionConfig",
)
"""What ListFunctions leaves out (Lambda API reference, "ListFunctions")."""


@dataclass(frozen=True)
class Paged:
    """A JSON listing of one store.

    :param module: of ``ministack.services``
    :param function: of that module; takes the request's parameters
    :param items: the list in the answer
    :param store: of that module; what is listed, in the order of its keys
    :param key: fields of an item whose values, joined by ``/``, are its key in the store
    :param size: parameter that asks for a page's size
    :param token: parameter that continues
    :param next_token: the same in the answer
    :param default: items of a page that nobody asked a size for
    :param most: items of a page at most
    :param refused: the error of a token that is none
    :param prefix: parameter with what keys begin with
    """

    module: str
    function: str
    items: str
    store: str
    key: tuple[str, ...]
    size: str
    token: str
    next_token: str
    default: int
    most: int
    refused: str
    prefix: str = ""


PAGED = (
    Paged(
        "glue", "_get_databases", "DatabaseList", "_databases", ("Name",),
        "MaxResults", "NextToken", "NextToken", 100, 100, "InvalidInputException",
    ),
    Paged(
        "glue", "_get_tables", "TableList", "_tables", ("DatabaseName", "Name"),
        "MaxResults", "NextToken", "NextToken", 100, 100, "InvalidInputException",
    ),
    Paged(
        "glue", "_get_connections", "ConnectionList", "_connections", ("Name",),
        "MaxResults", "NextToken", "NextToken", 100, 1000, "InvalidInputException",
    ),
    Paged(
        "glue", "_get_crawlers", "Crawlers", "_crawlers", ("Name",),
        "MaxResults", "NextToken", "NextToken", 100, 1000, "InvalidInputException",
    ),
    Paged(
        "glue", "_get_jobs", "Jobs", "_jobs", ("Name",),
        "MaxResults", "NextToken", "NextToken", 100, 1000, "InvalidInputException",
    ),
    Paged(
        "kms", "_list_aliases", "Aliases", "_aliases", ("AliasArn",),
        "Limit", "Marker", "NextMarker", 50, 100, "InvalidMarkerException",
    ),
    Paged(
        "scheduler", "_list_schedules", "Schedules", "_schedules", ("GroupName", "Name"),
        "MaxResults", "NextToken", "NextToken", 100, 100, "ValidationException",
    ),
    Paged(
        "lambda_svc", "_list_functions", "Functions", "_functions", ("FunctionName",),
        "MaxItems", "Marker", "NextMarker", 50, 50, "InvalidParameterValueException",
    ),
    Paged(
        "lambda_svc", "_list_esms", "EventSourceMappings", "_esms", ("UUID",),
        "MaxItems", "Marker", "NextMarker", 100, 100, "InvalidParameterValueException",
    ),
    Paged(
        "cloudwatch_logs", "_describe_log_groups", "logGroups", "_log_groups", ("logGroupName",),
        "limit", "nextToken", "nextToken", 50, 50, "InvalidParameterException",
        prefix="logGroupNamePrefix",
    ),
    Paged(
        "stepfunctions", "_list_state_machines", "stateMachines", "_state_machines",
        ("stateMachineArn",),
        "maxResults", "nextToken", "nextToken", 1000, 1000, "InvalidToken",
    ),
)  # fmt: skip
WHOLE = 1 << 30


def number(value: Any, default: int, most: int) -> int:
    """How many items a request asks for, as far as it may."""
    found = value[0] if isinstance(value, list) else value
    return min(int(found), most) if found else default


def text(value: Any) -> str:
    """A parameter that may come as a list of one."""
    return str((value[0] if isinstance(value, list) and value else value) or "")


Item = TypeVar("Item")
Look = Callable[[str, int], tuple[list[tuple[str, Item]], str | None]]
"""What is there after a key, among the next so many keys: each item with its key, and the key to
look on from, None where there are no more."""


def token_of(place: int, key: str) -> str:
    """A token that continues after a key of one of the things that are listed in turn."""
    return urlsafe_b64encode(f"{place}:{key}".encode()).decode()


def place_of(token: str) -> tuple[int, str]:
    """Where a token continues; without one at the start.

    :raises ValueError: it is no token
    """
    if not token:
        return 0, ""
    place, mark, key = urlsafe_b64decode(token.encode()).decode().partition(":")
    if not mark or not place.isdigit():
        raise ValueError("a token without a place")
    return int(place), key


def page_of(
    looks: Sequence[Look[Item]], token: str, size: int, most: int
) -> tuple[list[Item], str]:
    """The next items, and the token of the page after them, empty after the last.

    A page goes on after the last key of the one before, whatever came or went meanwhile: what was
    there all the time is in one of the pages, once.

    :param looks: what is listed, one thing after the other
    :param token: of the page before
    :param size: items that the page has at most
    :param most: keys that a look takes at once
    :raises ValueError: the token is none
    """
    place, key = place_of(token)
    found: list[Item] = []
    last = token
    count, full = min(size, most), False
    while place < len(looks):
        items, following = looks[place](key, count)
        for at, item in items:
            if len(found) == size:
                return found, last
            found.append(item)
            last = token_of(place, at)
        count = min(2 * count, most)
        if len(found) == size and not full:
            # Whether there is another one is all that a full page still wants to know.
            count, full = 1, True
        place, key = (place, following) if following is not None else (place + 1, "")
    return found, ""


def in_order(items: Iterable[tuple[str, Item]]) -> list[tuple[str, Item]]:
    """Items with their keys, in the order of these."""
    return sorted(items, key=lambda pair: pair[0])


def look_through(
    store: Any, prefix: str, render: Callable[[list[str]], list[tuple[str, Item]]]
) -> Look[Item]:
    """A look at a store.

    :param prefix: what its keys begin with
    :param render: items of keys, each with its key, in the keys' order; some keys may have none
    """

    def look(key: str, count: int) -> tuple[list[tuple[str, Item]], str | None]:
        keys = keys_after(store, key, prefix, count)
        return (render(keys) if keys else []), (keys[-1] if len(keys) == count else None)

    return look


def paged(
    listing: Paged, store: Any, inner: Callable[[dict[str, Any]], Reply]
) -> Callable[..., Reply]:
    """A JSON listing, page by page.

    :param store: what it lists
    :param inner: renders all that the store shows
    """

    def page(data: dict[str, Any]) -> Reply:
        # One listing cuts off by itself what is beyond its size, and names no next page.
        everything = {name: value for name, value in data.items() if name != listing.token}
        of_lambda = listing.module == "lambda_svc"
        everything[listing.size] = [str(WHOLE)] if of_lambda else WHOLE
        with only([(store, [])]):
            status, headers, body = inner(everything)
        if status >= 300:
            return status, headers, body
        answer = json.loads(body)

        def render(keys: list[str]) -> list[tuple[str, Any]]:
            with only([(store, keys)]):
                items = json.loads(inner(everything)[2])[listing.items]
            return in_order(("/".join(item[name] for name in listing.key), item) for item in items)

        look = look_through(store, text(data.get(listing.prefix)), render)
        try:
            answer[listing.items], following = page_of(
                [look],
                text(data.get(listing.token)),
                number(data.get(listing.size), listing.default, listing.most),
                listing.most,
            )
        except ValueError:
            return json_error(listing.refused, f"{listing.token} is not one that a page gave.")
        if following:
            answer[listing.next_token] = following
        if "Truncated" in answer:
            answer["Truncated"] = bool(following)
        return status, headers, json.dumps(answer).encode()

    return page


@dataclass(frozen=True)
class XmlList:
    """A list in an answer of IAM's.

    :param element: that holds it
    :param store: what it lists
    :param field: of a member, that is its key in the store
    :param others: stores of other lists that its members are rendered from too
    """

    element: str
    store: Any
    field: str
    others: tuple[Any, ...]


def paged_xml(lists: Sequence[XmlList], inner: Callable[[Any], Reply]) -> Callable[[Any], Reply]:
    """A listing of IAM, page by page over all its lists together.

    :param inner: renders all that the stores show
    """

    def rendered(params: Any, asked: XmlList | None, keys: list[str]) -> Reply:
        whole = asked.others if asked else ()
        hidden = [one.store for one in lists if one is not asked and one.store not in whole]
        shown = [(asked.store, keys)] if asked else []
        with only([*shown, *((store, []) for store in hidden)]):
            return inner(params)

    def page(params: Any) -> Reply:
        ElementTree.register_namespace("", IAM)
        status, headers, body = rendered(params, None, [])
        if status >= 300:
            return status, headers, body
        root = ElementTree.fromstring(body)
        space = root.tag.partition("}")[0] + "}"
        result = next(part for part in root if part.tag.endswith("Result"))

        def look(one: XmlList) -> Look[tuple[str, ElementTree.Element]]:
            def render(keys: list[str]) -> list[tuple[str, tuple[str, ElementTree.Element]]]:
                part = ElementTree.fromstring(rendered(params, one, keys)[2])
                members = part.iterfind(f"*/{space}{one.element}/{space}member")
                return in_order(
                    (member.findtext(f"{space}{one.field}", ""), (one.element, member))
                    for member in members
                )

            return look_through(one.store, "", render)

        try:
            members, following = page_of(
                [look(one) for one in lists],
                text(params.get("Marker")),
                number(params.get("MaxItems"), IAM_DEFAULT, IAM_MOST),
                IAM_MOST,
            )
        except ValueError:
            return xml_error("ValidationError", "Marker is not one that a page gave.")
        parts = {one.element: result.find(f"{space}{one.element}") for one in lists}
        for element, member in members:
            part = parts[element]
            if part is not None:
                part.append(member)
        flag = result.find(f"{space}IsTruncated")
        if flag is not None:
            flag.text = str(bool(following)).lower()
        if following:
            ElementTree.SubElement(result, f"{space}Marker").text = following
        return status, headers, ElementTree.tostring(root, encoding="utf-8")

    return page


def without_states(inner: Callable[[dict[str, Any]], Reply]) -> Callable[[dict[str, Any]], Reply]:
    """ListFunctions does not tell the states of functions."""

    def page(query: dict[str, Any]) -> Reply:
        status, headers, body = inner(query)
        answer = json.loads(body)
        for function in answer.get("Functions", []):
            for field in STATES_OF_A_FUNCTION:
                function.pop(field, None)
        return status, headers, json.dumps(answer).encode()

    return page


def alarms(stores: Sequence[Any], inner: Callable[..., Reply]) -> Callable[..., Reply]:
    """DescribeAlarms, looking at no more alarms than a page is made of.

    The emulator's own pages are AWS's: they begin at the name that the token is.

    :param stores: those of alarms, and of composite ones
    """

    def page(
        params: dict[str, Any], given: dict[str, Any], is_cbor: bool, is_json: bool = False
    ) -> Reply:
        asked = given if is_cbor or is_json else params
        members = (text(params.get(f"AlarmNames.member.{at}")) for at in range(1, 101))
        names = asked.get("AlarmNames") or [name for name in members if name]
        state, prefix = text(asked.get("StateValue")), text(asked.get("AlarmNamePrefix"))
        size = ALARMS_DEFAULT
        with suppress(ValueError):  # the emulator refuses it itself
            size = max(1, int(text(asked.get("MaxRecords")) or ALARMS_DEFAULT))
        # One more than the page has: it is where the next one begins.
        size += 1

        def matching(store: Any) -> list[str]:
            found: list[str] = []
            key, itself = text(asked.get("NextToken")), True
            while len(found) < size:
                keys = keys_after(store, key, prefix, size, itself)
                held = ((name, store.get(name)) for name in keys)
                found += [name for name, one in held if one and state in ("", one["StateValue"])]
                if len(keys) < size:
                    break
                key, itself = keys[-1], False
            return found[:size]

        with only([(store, names or matching(store)) for store in stores]):
            return inner(params, given, is_cbor, is_json)

    return page


Tagged = Iterator[tuple[str, list[dict[str, str]]]]


def _pairs(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def _here(service: str, path: str) -> str:
    from ministack.core.responses import get_account_id, get_region

    return f"arn:aws:{service}:{get_region()}:{get_account_id()}:{path}"


def tagged_machines() -> Tagged:
    """State machines and their tags."""
    from ministack.services import stepfunctions

    for arn, tags in stepfunctions._tags.items():
        yield arn, [{"Key": tag["key"], "Value": tag["value"]} for tag in tags]


def tagged_groups() -> Tagged:
    """Log groups; the ARN is that without the star."""
    from ministack.services import cloudwatch_logs

    for name, group in cloudwatch_logs._log_groups.items():
        yield _here("logs", f"log-group:{name}"), _pairs(group.get("tags"))


def tagged_alarms() -> Tagged:
    """Alarms of this region."""
    from ministack.services import cloudwatch

    region = _here("cloudwatch", "")
    for arn, tags in cloudwatch._resource_tags.items():
        if arn.startswith(region):
            yield arn, _pairs(tags)


def tagged_secrets() -> Tagged:
    """Secrets."""
    from ministack.services import secretsmanager

    for secret in secretsmanager._secrets.values():
        yield secret.get("ARN", ""), list(secret.get("Tags") or [])


def tagged_mappings(inner: Callable[[], Tagged]) -> Callable[[], Tagged]:
    """Functions, and event source mappings."""

    def collect() -> Tagged:
        from ministack.services import lambda_svc

        yield from inner()
        for uuid, mapping in lambda_svc._esms.items():
            yield _here("lambda", f"event-source-mapping:{uuid}"), _pairs(mapping.get("Tags"))

    return collect


def of_type(arn: str, filters: list[str]) -> bool:
    """Whether a resource is of one of the types: ``service`` or ``service:type``.

    An ARN's resource part is ``type/name``, ``type:name`` or ``name``; a name may hold slashes.
    """
    _, _, service, _, _, resource = arn.split(":", 5)
    kind = resource[: min((resource.find(mark) for mark in ":/" if mark in resource), default=0)]
    return not filters or any(
        wanted == service or wanted == f"{service}:{kind}" for wanted in filters
    )


def tagged(
    collectors: Mapping[str, Callable[[], Tagged]],
    walked: Mapping[str, Sequence[Any]],
    inner: Callable[[dict[str, Any]], Reply],
) -> Callable[[dict[str, Any]], Reply]:
    """GetResources, page by page.

    :param collectors: what has tags, by service
    :param walked: the stores that a collector walks through, in turn; of the others all is taken
    :param inner: answers for resources that are named
    """
    from ministack.services import tagging

    def page(data: dict[str, Any]) -> Reply:
        if data.get("ResourceARNList"):
            return inner(data)
        types, tags = data.get("ResourceTypeFilters") or [], data.get("TagFilters") or []
        services = {wanted.partition(":")[0] for wanted in types}

        def chosen(pairs: Tagged) -> Iterator[tuple[str, dict[str, Any]]]:
            for arn, found in pairs:
                if of_type(arn, types) and tagging._matches_tag_filters(found, tags):
                    yield arn, {"ResourceARN": arn, "Tags": found}

        def of_store(
            collector: Callable[[], Tagged], stores: Sequence[Any], store: Any
        ) -> Look[dict[str, Any]]:
            def render(keys: list[str]) -> list[tuple[str, dict[str, Any]]]:
                items = []
                for key in keys:
                    with only((one, [key] if one is store else []) for one in stores):
                        items += [(key, item) for _, item in chosen(collector())]
                return items

            return look_through(store, "", render)

        def of_all(collector: Callable[[], Tagged]) -> Look[dict[str, Any]]:
            def look(key: str, count: int) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
                items = [pair for pair in in_order(chosen(collector())) if pair[0] > key]
                return items[:count], items[count - 1][0] if len(items) > count else None

            return look

        asked = {
            collector: walked.get(service, ())
            for service, collector in collectors.items()
            if not types or service in services
        }
        looks = [
            look
            for collector, stores in asked.items()
            for look in (
                [of_store(collector, stores, store) for store in stores] or [of_all(collector)]
            )
        ]
        try:
            items, following = page_of(
                looks,
                text(data.get("PaginationToken")),
                number(data.get("ResourcesPerPage"), TAGGED_DEFAULT, TAGGED_MOST),
                TAGGED_MOST,
            )
        except ValueError:
            return json_error("InvalidParameterException", "Invalid pagination token.")
        answer = {"ResourceTagMappingList": items, "PaginationToken": following}
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()

    return page


def install() -> None:
    """Cut the listings into pages, and collect tags of every service."""
    from importlib import import_module

    from ministack.services import (
        cloudwatch,
        cloudwatch_logs,
        iam,
        lambda_svc,
        secretsmanager,
        stepfunctions,
        tagging,
    )

    for listing in PAGED:
        module = import_module(f"ministack.services.{listing.module}")
        inner = getattr(module, listing.function)
        page = paged(listing, getattr(module, listing.store), inner)
        setattr(module, listing.function, page)
        for table in (getattr(module, name, {}) for name in ("_HANDLERS", "_KMS_HANDLERS")):
            for operation, handler in list(table.items()):
                if handler is inner:
                    table[operation] = page
    for operation, lists in IAM_LISTS.items():
        stored = [
            XmlList(element, getattr(iam, store), field, tuple(getattr(iam, one) for one in others))
            for element, store, field, others in lists
        ]
        iam._IAM_HANDLERS[operation] = paged_xml(stored, iam._IAM_HANDLERS[operation])
    lambda_svc._list_functions = without_states(lambda_svc._list_functions)
    cloudwatch._describe_alarms = alarms(
        (cloudwatch._alarms, cloudwatch._composite_alarms), cloudwatch._describe_alarms
    )
    tagging._COLLECTORS.update(
        {
            "states": tagged_machines,
            "logs": tagged_groups,
            "cloudwatch": tagged_alarms,
            "secretsmanager": tagged_secrets,
            "lambda": tagged_mappings(tagging._COLLECTORS["lambda"]),
        }
    )
    walked = {
        "cloudwatch": (cloudwatch._resource_tags,),
        "lambda": (lambda_svc._functions, lambda_svc._esms),
        "logs": (cloudwatch_logs._log_groups,),
        "secretsmanager": (secretsmanager._secrets,),
        "states": (stepfunctions._tags,),
    }
    tagging._HANDLERS["GetResources"] = tagged(
        tagging._COLLECTORS, walked, tagging._HANDLERS["GetResources"]
    )
    tagging._matches_type_filters = of_type
