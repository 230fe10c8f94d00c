"""A source that answers 500 is tried again for a while; then the object says so."""

from __future__ import annotations

import pytest

from e2e.running import Running, condition
from e2e.source_server import SourceServer

pytestmark = pytest.mark.e2e


def test_an_endpoint_that_keeps_failing_is_tried_again_and_told(
    running: Running, server: SourceServer, unavailable: str
) -> None:
    obj = running.wait_run("dsrc", unavailable, state="Failed")
    flowing = condition(obj, "Flowing")
    assert (flowing["status"], flowing["reason"]) == ("False", "RunFailed")
    assert "SourceUnavailable" in flowing["message"] and "500" in flowing["message"]
    assert server.asked[f"/{unavailable}"] > 1, "it was not tried again"
    assert running.keys("raw", f"default/{unavailable}/_manifests/") == []
