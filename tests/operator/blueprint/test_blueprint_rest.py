"""What a REST source's function reads, and what is wrong before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from operator_api import samples
from weir.api.v1alpha1.rest import RestApi
from weir.blueprint import rest
from weir_contract.codec import dumps, loads
from weir_contract.rest import RestApi as Config

PLAIN = {"endpoint": "https://api.example.com/rows", "schedule": "rate(1 hour)"}
SAMPLES = [
    body["spec"]["source"]["restApi"]
    for body in samples.SAMPLES.values()
    if body["kind"] == "DataSource" and "restApi" in body["spec"]["source"]
]


@pytest.mark.parametrize("body", SAMPLES)
def test_every_field_reaches_the_function(body: dict[str, Any]) -> None:
    config = rest.rest_api(RestApi.model_validate(body))
    assert loads(Config, dumps(config)) == config


def test_durations_are_seconds_and_the_lower_rate_counts() -> None:
    config = rest.rest_api(RestApi.model_validate(samples.REST))
    assert config.incremental is not None
    assert (config.incremental.lag_seconds, config.incremental.step_seconds) == (7200, 604_800)
    assert config.limits.requests_per_second == pytest.approx(100 / 60)
    assert config.parents[0].include == {"shopId": "id"}


FAULTS = [
    ({"dataSelector": "data["}, "dataSelector", "InvalidPath"),
    ({"params": {"a": "{resources.shops.id}"}}, "params.a", "UnknownPlaceholder"),
    ({"params": {"a": "{incremental.startValue}"}}, "params.a", "UnknownPlaceholder"),
    ({"headers": {"a": "{job.id}"}}, "headers.a", "UnknownPlaceholder"),
    ({"incremental": {"cursorPath": "at"}}, "incremental.startParam", "UnknownPlaceholder"),
    (
        {
            "incremental": {
                "cursorPath": "at", "startParam": "a", "initialValue": "2026", "step": "1d",
            }
        },
        "incremental.endParam",
        "UnknownPlaceholder",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "reason"), FAULTS)
def test_what_stands_for_nothing_is_told(changes: dict[str, Any], path: str, reason: str) -> None:
    (fault,) = rest.faults(RestApi.model_validate(PLAIN | changes))
    assert (fault.path, fault.reason) == (f"spec.source.restApi.{path}", reason)


def test_a_refresh_tokens_secret_is_read_and_written_only_where_it_rotates() -> None:
    auth = {"oauth2RefreshToken": {"tokenUrl": "https://a.example.com/t", "secret": "books"}}
    api = RestApi.model_validate(PLAIN | {"auth": auth})
    assert {ref.name for ref in rest.secrets(api)} == {"books"}
    assert rest.rotated_secret(api) is None
    auth["oauth2RefreshToken"]["rotate"] = True  # type: ignore[assignment]
    assert rest.rotated_secret(RestApi.model_validate(PLAIN | {"auth": auth})) == "books"
