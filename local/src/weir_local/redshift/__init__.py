"""Redshift for the local AWS: the Data API, Serverless and provisioned clusters, on DuckDB.

Three services plug into MiniStack, which has none of them. Whoever starts MiniStack adds the
tables below to its own (``app.SERVICE_HANDLERS``, ``core.router.SERVICE_PATTERNS``,
``core.iam_actions``) and calls :func:`configure` before the first request; :func:`install` does
both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

Response = tuple[int, dict[str, str], bytes]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Response]]
"""(method, path, headers, body, query parameters) -> (status, headers, body)."""


def _handler(module: str) -> Handler:
    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        service = import_module(f"weir_local.redshift.{module}")
        answer: Response = await service.handle_request(method, path, headers, body, query)
        return answer

    return handle


SERVICES: dict[str, Handler] = {
    "redshift-data": _handler("data_api"),
    "redshift-serverless": _handler("serverless"),
    "redshift": _handler("provisioned"),
}
"""Service -> handler, for ``ministack.app.SERVICE_HANDLERS``."""

SERVICE_PATTERNS: dict[str, dict[str, list[str]]] = {
    "redshift-data": {
        "target_prefixes": ["RedshiftData."],
        "host_patterns": [r"^redshift-data\."],
    },
    "redshift-serverless": {
        "target_prefixes": ["RedshiftServerless."],
        "host_patterns": [r"^redshift-serverless\."],
    },
    "redshift": {"host_patterns": [r"^redshift\."]},
}
"""How a request is recognised, for ``ministack.core.router.SERVICE_PATTERNS``. Each service's
credential scope is its key."""

IAM_NAMESPACES: dict[str, str] = {name: name for name in SERVICES}
"""Service -> prefix of its IAM actions, for ``core.iam_actions.SERVICE_TO_IAM_NAMESPACE``."""

PROTOCOLS: dict[str, str] = {"redshift": "query-xml"}
"""For ``core.iam_actions._SERVICE_PROTOCOL``: how a denial is spelled (the others speak JSON)."""

XML_NAMESPACES: dict[str, str] = {"redshift": "http://redshift.amazonaws.com/doc/2012-12-01/"}
"""For ``core.iam_actions._QUERY_XML_NS``."""


def resource_arn(
    service: str,
    _method: str,
    _path: str,
    headers: Mapping[str, str],
    body: bytes,
    query: Mapping[str, Any],
    region: str,
    account_id: str,
) -> str:
    """The ARN that a request of one of :data:`SERVICES` is authorized on; ``*`` if it names none.

    Takes what ``core.iam_actions.extract_resource_arn`` takes.
    """
    module = import_module("weir_local.redshift.authorization")
    arn: str = module.resource_arn(service, headers, body, query, region, account_id)
    return arn


def configure(state: Path, endpoint: str) -> None:
    """Say where data is kept and where the local AWS answers.

    Parameters
    ----------
    state
        Directory of the warehouses' DuckDB files and metadata; made if absent.
    endpoint
        URL of the local AWS: COPY and UNLOAD reach S3 through it, so that IAM decides.
    """
    import_module("weir_local.redshift.warehouses").configure(state, endpoint)


def shutdown() -> None:
    """Stop running statements and close the DuckDB files."""
    import_module("weir_local.redshift.warehouses").shutdown()


def install(state: Path, endpoint: str) -> None:
    """Add the three services to the MiniStack in this process, and :func:`configure` them."""
    app: Any = import_module("ministack.app")
    router: Any = import_module("ministack.core.router")
    actions: Any = import_module("ministack.core.iam_actions")
    configure(state, endpoint)
    app.SERVICE_HANDLERS.update(SERVICES)
    router.SERVICE_PATTERNS.update(SERVICE_PATTERNS)
    actions.SERVICE_TO_IAM_NAMESPACE.update(IAM_NAMESPACES)
    actions._SERVICE_PROTOCOL.update(PROTOCOLS)
    actions._QUERY_XML_NS.update(XML_NAMESPACES)
    others = actions.extract_resource_arn
    if getattr(others, "knows_redshift", False):
        return

    def extract_resource_arn(service: str, *request: Any) -> str:
        if service in SERVICES:
            return resource_arn(service, *request)
        arn: str = others(service, *request)
        return arn

    extract_resource_arn.knows_redshift = True  # type: ignore[attr-defined]
    actions.extract_resource_arn = extract_resource_arn
