"""Tags: AWS has them as lists of pairs, as maps, and under several key names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from weir.aws.calls import Calls
from weir.aws.session import AwsSession


def pairs(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Tags as the list of pairs that most services take."""
    return [{key: name, value: text} for name, text in sorted(tags.items())]


def mapping(
    items: Iterable[Mapping[str, Any]] | None, key: str = "Key", value: str = "Value"
) -> dict[str, str]:
    """Tags from a list of pairs, each text once in memory: an object's ten resources share theirs."""
    return {
        sys.intern(str(item[key])): sys.intern(str(item.get(value, ""))) for item in items or ()
    }


def missing(seen: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Wanted tags that are not there so. What else is there is somebody's and stays."""
    return {key: text for key, text in wanted.items() if seen.get(key) != text}


def bulk(
    session: AwsSession, *resource_types: str, key: str = "", value: str = ""
) -> dict[str, dict[str, str]]:
    """ARN -> tags of everything tagged of these types, 100 a page.

    The Resource Groups Tagging API lags behind writes for a while: what is missing here must be
    asked of the service itself before it counts as untagged.

    Parameters
    ----------
    resource_types
        ``lambda:function``, ``states:stateMachine``.
    key, value
        Only what has this tag; an empty value stands for any.
    """
    calls = Calls(session, "resourcegroupstaggingapi")
    values = {"Values": [value]} if value else {}
    only: dict[str, Any] = {"TagFilters": [{"Key": key, **values}]} if key else {}
    return {
        str(item["ResourceARN"]): mapping(item.get("Tags"))
        for item in calls.pages(
            "GetResources",
            "ResourceTagMappingList",
            ResourceTypeFilters=list(resource_types),
            ResourcesPerPage=100,
            **only,
        )
    }
