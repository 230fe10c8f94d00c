"""A Platform that grants one namespace very little, and what that namespace asks for."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MAKE = Path(__file__).parents[1] / "blueprint" / "conftest.py"

NARROW = {
    "namespaces": {"names": ["default"]},
    "bucketPrefixes": ["customers/*"],
    "redshift": {"schemas": ["customers"]},
    "egress": {"hosts": ["api.example.com"]},
}
"""What the namespace is granted: not one thing of others."""


@pytest.fixture(scope="session")
def make_world() -> Callable[..., Any]:
    """The reference example as the blueprint sees it: ``make_world(platform, source, pipeline)``."""
    spec = importlib.util.spec_from_file_location("blueprint_world", MAKE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found: Callable[..., Any] = module.make_world
    return found
