"""A REST source as its function reads it, and what in it names something else."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from weir.api.v1alpha1.rest import RestApi
from weir.blueprint.durations import seconds
from weir_contract import rest
from weir_contract.codec import camel, hints_of
from weir_contract.jsonpath import JsonPathError, compile_path
from weir_contract.secrets import SecretRef, secret_refs

DURATIONS = {
    "timeout": "timeout_seconds",
    "lifetime": "lifetime_seconds",
    "interval": "interval_seconds",
    "lag": "lag_seconds",
    "step": "step_seconds",
}
"""Field of the API, a duration -> the contract's, in seconds."""

OTHERS = {"lag_number": "lag"}
"""Field of the API -> the contract's, where they are called differently."""

SCHEDULING = {"schedule", "timezone"}
"""Fields of the source itself that its function does not need."""


PLACEHOLDER = re.compile(r"\{(resources|incremental|job)\.([^{}]+)\}")
INCREMENTAL = ("startValue", "endValue")


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that is wrong: a CamelCase reason, its place, and what to do."""

    reason: str
    path: str
    message: str


def rest_api(api: RestApi) -> rest.RestApi:
    """The configuration of a REST source's function."""
    plain = {k: v for k, v in api.model_dump(exclude_none=True).items() if k not in SCHEDULING}
    limits = plain["limits"]
    minute = limits.pop("requests_per_minute", None)
    rates = [limits.pop("requests_per_second", None), minute / 60 if minute else None]
    stated = [float(rate) for rate in rates if rate]
    if stated:
        limits["requests_per_second"] = min(stated)
    found: rest.RestApi = _message(rest.RestApi, plain)
    return found


def _message(cls: Any, plain: Mapping[str, Any]) -> Any:
    """A contract's dataclass from the API's plain values of the same names."""
    hints, values = hints_of(cls), {}
    for key, value in plain.items():
        if key in DURATIONS and DURATIONS[key] in hints:
            key, value = DURATIONS[key], seconds(value)
        key = OTHERS.get(key, key)
        values[key] = _value(hints[key], value)
    return cls(**values)


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        item = get_args(hint)[0]
        return tuple(_value(item, one) for one in value)
    kinds = [kind for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)]
    return _message(kinds[0], value) if kinds and isinstance(value, Mapping) else value


def texts(api: RestApi) -> Iterator[tuple[str, str]]:
    """Every text of a source with its place, as a manifest spells it."""
    yield from leaves(api.model_dump(by_alias=True, exclude_none=True), "spec.source.restApi")


def leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text in a nesting of maps and lists, with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")


def secrets(api: RestApi) -> frozenset[SecretRef]:
    """Every secret that a source's requests name."""
    found = {ref for _, text in texts(api) for ref in secret_refs(text)}
    refresh = api.auth.oauth2_refresh_token if api.auth else None
    return frozenset(found | ({SecretRef(refresh.secret)} if refresh else set()))


def rotated_secret(api: RestApi) -> str | None:
    """The secret that the function writes a new refresh token into, as the source names it."""
    refresh = api.auth.oauth2_refresh_token if api.auth else None
    return refresh.secret if refresh and refresh.rotate else None


def urls(api: RestApi) -> Iterator[tuple[str, str]]:
    """Every address that a source asks, with its place; those that a job names are left out."""
    path = "spec.source.restApi"
    yield f"{path}.endpoint", api.endpoint
    for index, parent in enumerate(api.parents):
        yield f"{path}.parents[{index}].endpoint", parent.endpoint
    if api.async_job:
        yield f"{path}.asyncJob.statusUrl", api.async_job.status_url
        yield f"{path}.asyncJob.downloadUrl", api.async_job.download_url
    if api.auth:
        for name, member in api.auth:
            for field in ("token_url", "login_url"):
                url = getattr(member, field, None)
                if url:
                    yield f"{path}.auth.{camel(name)}.{camel(field)}", url


def faults(api: RestApi) -> Iterator[Fault]:
    """Paths that can't be read, and placeholders that stand for nothing."""
    root = "spec.source.restApi"
    selectors = [(f"{root}.dataSelector", api.data_selector)]
    for index, parent in enumerate(api.parents):
        selectors.append((f"{root}.parents[{index}].dataSelector", parent.data_selector))
    for where, selector in selectors:
        if selector:
            yield from _selector(where, selector)
    names: list[str] = []
    for index, parent in enumerate(api.parents):
        place = f"{root}.parents[{index}]"
        plain = parent.model_dump(by_alias=True, exclude_none=True)
        yield from _placeholders(leaves(plain, place), api, names, False)
        names.append(parent.name)
    rest_of = api.model_dump(by_alias=True, exclude_none=True, exclude={"parents", "async_job"})
    yield from _placeholders(leaves(rest_of, root), api, names, False)
    if api.async_job:
        plain = api.async_job.model_dump(by_alias=True, exclude_none=True)
        yield from _placeholders(leaves(plain, f"{root}.asyncJob"), api, names, True)
    if api.incremental:
        yield from _incremental(api, f"{root}.incremental")


def _selector(where: str, selector: str) -> Iterator[Fault]:
    try:
        compile_path(selector)
    except JsonPathError as error:
        yield Fault("InvalidPath", where, f"{error}; write a JSONPath such as data.items[*]")


def _placeholders(
    found: Iterator[tuple[str, str]], api: RestApi, names: list[str], job: bool
) -> Iterator[Fault]:
    for where, text in found:
        for match in PLACEHOLDER.finditer(text):
            kind, path = match.groups()
            head = path.partition(".")[0]
            known = {
                "resources": (names, "a parent above it"),
                "incremental": (INCREMENTAL if api.incremental else (), "startValue or endValue"),
                "job": ([head] if job else [], "used in asyncJob alone"),
            }
            allowed, words = known[kind]
            if head not in allowed:
                yield Fault(
                    "UnknownPlaceholder",
                    where,
                    f"{match.group(0)} stands for nothing: {{{kind}.…}} must name {words}",
                )


def _incremental(api: RestApi, path: str) -> Iterator[Fault]:
    spec = api.incremental
    if spec is None:
        return
    told = {
        match for _, text in texts(api) for match in re.findall(r"\{incremental\.(\w+)\}", text)
    }
    if not spec.start_param and "startValue" not in told:
        yield Fault(
            "UnknownPlaceholder",
            f"{path}.startParam",
            "nothing tells the source where to start: set startParam, or put "
            "{incremental.startValue} into params or the body",
        )
    if spec.step and not spec.end_param and "endValue" not in told:
        yield Fault(
            "UnknownPlaceholder",
            f"{path}.endParam",
            "a step has an end: set endParam, or put {incremental.endValue} into params or the body",
        )
