"""Listings give what AWS's give: no more at once, no fewer, and the tags of every service.

Page sizes are those of the operations' pages in the API references (``MaxResults`` and its kin). The
Resource Groups Tagging API knows state machines, alarms, log groups, secrets and event source
mappings too ("Services that support the Resource Groups Tagging API").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from weir_local.aws.wire import Reply

IAM = "https://iam.amazonaws.com/doc/2010-05-08/"
IAM_LISTS = {
    "ListRoles": ("Roles",),
    "GetAccountAuthorizationDetails": (
        "UserDetailList",
        "GroupDetailList",
        "RoleDetailList",
        "Policies",
    ),
}
IAM_DEFAULT, IAM_MOST = 100, 1000

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
    """A JSON listing that the emulator gives whole.

    :param module: of ``ministack.services``
    :param function: of that module; takes the request's parameters
    :param items: the list in the answer
    :param size: parameter that asks for a page's size
    :param token: parameter that continues
    :param next_token: the same in the answer
    :param default: items of a page that nobody asked a size for
    :param most: items of a page at most
    """

    module: str
    function: str
    items: str
    size: str
    token: str
    next_token: str
    default: int
    most: int


PAGED = (
    Paged("glue", "_get_databases", "DatabaseList", "MaxResults", "NextToken", "NextToken", 100, 100),
    Paged("glue", "_get_tables", "TableList", "MaxResults", "NextToken", "NextToken", 100, 100),
    Paged("glue", "_get_connections", "ConnectionList", "MaxResults", "NextToken", "NextToken", 100, 1000),
    Paged("glue", "_get_crawlers", "Crawlers", "MaxResults", "NextToken", "NextToken", 100, 1000),
    Paged("glue", "_get_jobs", "Jobs", "MaxResults", "NextToken", "NextToken", 100, 1000),
    Paged("kms", "_list_aliases", "Aliases", "Limit", "Marker", "NextMarker", 50, 100),
    Paged(
        "tagging", "_get_resources", "ResourceTagMappingList",
        "ResourcesPerPage", "PaginationToken", "PaginationToken", 50, 100,
    ),
    Paged("scheduler", "_list_schedules", "Schedules", "MaxResults", "NextToken", "NextToken", 100, 100),
)  # fmt: skip
WHOLE = 1 << 30


def number(value: Any, default: int, most: int) -> int:
    """How many items a request asks for, as far as it may."""
    found = value[0] if isinstance(value, list) else value
    return min(int(found), most) if found else default


def text(value: Any) -> str:
    """A parameter that may come as a list of one."""
    return str((value[0] if isinstance(value, list) and value else value) or "")


def paged(listing: Paged, inner: Callable[[dict[str, Any]], Reply]) -> Callable[..., Reply]:
    """The listing, page by page.

    :param inner: gives all of it
    """

    def page(data: dict[str, Any]) -> Reply:
        # One listing cuts off by itself what is beyond its size, and names no next page.
        everything = {**data, listing.size: WHOLE}
        status, headers, body = inner(everything)
        if status >= 300:
            return status, headers, body
        answer = json.loads(body)
        items = answer.get(listing.items, [])
        start = int(text(data.get(listing.token)) or 0)
        end = start + number(data.get(listing.size), listing.default, listing.most)
        answer[listing.items] = items[start:end]
        answer.pop(listing.next_token, None)
        if end < len(items):
            answer[listing.next_token] = str(end)
        if "Truncated" in answer:
            answer["Truncated"] = end < len(items)
        return status, headers, json.dumps(answer).encode()

    return page


def paged_xml(names: tuple[str, ...], inner: Callable[[Any], Reply]) -> Callable[[Any], Reply]:
    """A listing of IAM, page by page over all its lists together.

    :param names: the elements that hold lists
    """

    def page(params: Any) -> Reply:
        status, headers, body = inner(params)
        if status >= 300:
            return status, headers, body
        ElementTree.register_namespace("", IAM)
        root = ElementTree.fromstring(body)
        result = next(part for part in root if part.tag.endswith("Result"))
        lists = [part for part in result if part.tag.rpartition("}")[2] in names]
        start = int(text(params.get("Marker")) or 0)
        end = start + number(params.get("MaxItems"), IAM_DEFAULT, IAM_MOST)
        position = 0
        for part in lists:
            for member in list(part):
                if not start <= position < end:
                    part.remove(member)
                position += 1
        space = root.tag.partition("}")[0] + "}"
        more = position > end
        flag = result.find(f"{space}IsTruncated")
        if flag is not None:
            flag.text = str(more).lower()
        if more:
            ElementTree.SubElement(result, f"{space}Marker").text = str(end)
        return status, headers, ElementTree.tostring(root, encoding="utf-8")

    return page


def functions(inner: Callable[[dict[str, Any]], Reply]) -> Callable[[dict[str, Any]], Reply]:
    """ListFunctions: at most 50, and without their states."""

    def page(query: dict[str, Any]) -> Reply:
        size = number(query.get("MaxItems"), 50, 50)
        status, headers, body = inner({**query, "MaxItems": [str(size)]})
        answer = json.loads(body)
        for function in answer.get("Functions", []):
            for field in STATES_OF_A_FUNCTION:
                function.pop(field, None)
        return status, headers, json.dumps(answer).encode()

    return page


def mappings(inner: Callable[[dict[str, Any]], Reply]) -> Callable[[dict[str, Any]], Reply]:
    """ListEventSourceMappings: at most 100."""

    def page(query: dict[str, Any]) -> Reply:
        return inner({**query, "MaxItems": [str(number(query.get("MaxItems"), 100, 100))]})

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


def install() -> None:
    """Cut the listings into pages, and collect tags of every service."""
    from importlib import import_module

    from ministack.services import iam, lambda_svc, tagging

    for listing in PAGED:
        module = import_module(f"ministack.services.{listing.module}")
        inner = getattr(module, listing.function)
        page = paged(listing, inner)
        setattr(module, listing.function, page)
        for table in (getattr(module, name, {}) for name in ("_HANDLERS", "_KMS_HANDLERS")):
            for operation, handler in list(table.items()):
                if handler is inner:
                    table[operation] = page
    for operation, names in IAM_LISTS.items():
        iam._IAM_HANDLERS[operation] = paged_xml(names, iam._IAM_HANDLERS[operation])
    lambda_svc._list_functions = functions(lambda_svc._list_functions)
    lambda_svc._list_esms = mappings(lambda_svc._list_esms)
    tagging._COLLECTORS.update(
        {
            "states": tagged_machines,
            "logs": tagged_groups,
            "cloudwatch": tagged_alarms,
            "secretsmanager": tagged_secrets,
            "lambda": tagged_mappings(tagging._COLLECTORS["lambda"]),
        }
    )
    tagging._matches_type_filters = of_type
