"""The functions' AWS clients: the services that they speak to, and the models that botocore reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader

import weir_lambdas
from weir_lambdas.common.aws import SERVICES, Models

SOURCES = Path(weir_lambdas.__file__).parent


def test_the_services_are_those_that_functions_ask_for() -> None:
    asked = {
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r'\bclient\("([a-z0-9-]+)"[,)]', path.read_text())
    }
    assert asked == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_model_is_the_one_that_botocore_reads(service: str) -> None:
    for kind in ("service-2", "paginators-1", "endpoint-rule-set-1"):
        theirs = Loader().load_service_model(service, kind)
        assert Models().load_service_model(service, kind) == theirs


def test_the_files_that_all_services_share_are_the_same() -> None:
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        assert Models().load_data(name) == Loader().load_data(name)
    with pytest.raises(DataNotFoundError):
        Models().load_data("no-such-file")
