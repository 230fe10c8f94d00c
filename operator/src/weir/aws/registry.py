"""Which adapters there are: every module of this package that has ``ADAPTERS``."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import weir.aws
from weir.aws.base import ServiceAdapter
from weir.aws.session import AwsSession
from weir.resource import Adapter


def adapter_classes() -> dict[str, type[ServiceAdapter]]:
    """Kind -> adapter class, of all modules of :mod:`weir.aws`."""
    found: dict[str, type[ServiceAdapter]] = {}
    for module in pkgutil.iter_modules(weir.aws.__path__):
        for adapter in getattr(import_module(f"weir.aws.{module.name}"), "ADAPTERS", ()):
            if adapter.kind in found:
                raise TypeError(f"two adapters of kind {adapter.kind}")
            found[adapter.kind] = adapter
    return found


def adapters(session: AwsSession) -> dict[str, Adapter]:
    """Kind -> adapter, all using one session's clients."""
    return {kind: adapter(session) for kind, adapter in adapter_classes().items()}
