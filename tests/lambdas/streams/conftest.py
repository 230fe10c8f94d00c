"""Streams on the local AWS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lambdas.streams.rig import Rig
from weir_contract.rows import RowContract
from weir_contract.sources import SourceConfig, Stream
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.state import Table


@pytest.fixture
def stream_rig(
    aws: Callable[[str], Any], new_bucket: Callable[[], str], table: Table, clock: Clock
) -> Callable[..., Rig]:
    """Makes a source; its stream's settings may be given."""

    def make(kind: Any = "kinesis", config: Any = None, **settings: Any) -> Rig:
        made = SourceConfig(
            platform="default",
            namespace="shop",
            name="clicks",
            raw_bucket=new_bucket(),
            state_table=table.name,
            contract=RowContract(),
            quarantine_bucket=new_bucket(),
            stream=Stream(kind, "clicks", **settings),
        )
        return Rig(aws("s3"), table, replace(made, **(config or {})), clock)

    return make


@pytest.fixture
def stream(stream_rig: Callable[..., Rig]) -> Rig:
    """A Kinesis stream of JSON."""
    return stream_rig()
