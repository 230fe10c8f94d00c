"""A REST API as something that can be landed."""

from __future__ import annotations

from collections.abc import Iterator

from weir_contract.codec import digest
from weir_contract.sources import RestApi, SourceConfig
from weir_lambdas.api_ingestion.client import SourceClient
from weir_lambdas.api_ingestion.extract import Extraction, highest
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient, Resolver, system_resolver
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.landing.batch import Batch, Start

SNAPSHOT_SECONDS = 86_400.0
"""A source that is read whole is not gone on with after a day: its pages have moved."""


class RestSource:
    """A REST API.

    Parameters
    ----------
    config
        The source's configuration.
    resolver
        Host and port -> addresses.
    """

    def __init__(
        self,
        config: SourceConfig,
        secrets: Secrets,
        clock: Clock,
        resolver: Resolver = system_resolver,
    ) -> None:
        if config.rest_api is None:
            raise ConfigInvalid("the source is no REST API", config.id)
        self._config, self._api = config, config.rest_api
        self._secrets, self._clock, self._resolver = secrets, clock, resolver

    @property
    def fingerprint(self) -> str:
        """Hash of the requests' configuration."""
        return digest(self._api)[:16]

    @property
    def resume_seconds(self) -> float:
        """Any age for an incremental source, a day for one that is read whole."""
        return float("inf") if self._api.cursor_field else SNAPSHOT_SECONDS

    def batches(self, start: Start) -> Iterator[Batch]:
        """The rows, a page a batch."""
        api: RestApi = self._api
        before = start.position or {}
        since = start.cursor if api.cursor_field else None
        since = since if since is not None else api.initial_cursor
        egress = EgressClient(
            self._config.egress,
            self._secrets.fill(api.endpoint),
            api.allowed_hosts,
            self._resolver,
        )
        client = SourceClient(egress, api.limits, self._clock, start.remaining)
        extraction = Extraction(api, client, egress, self._secrets, since)
        high = before.get("high", since)
        for page in extraction.pages(before.get("page"), start.enough):
            high = highest(high, page.rows, api.cursor_field)
            ahead = None if page.next is None else {"high": high, "page": page.next}
            yield Batch(page.lines, page.rows, ahead, high)
