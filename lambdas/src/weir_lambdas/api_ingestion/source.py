"""A REST API as something that can be landed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace

from weir_contract.codec import digest
from weir_contract.sources import RequestLimits, SourceConfig
from weir_lambdas.api_ingestion.auth import Around, authenticator
from weir_lambdas.api_ingestion.budget import Budget
from weir_lambdas.api_ingestion.client import SourceClient
from weir_lambdas.api_ingestion.company import Company
from weir_lambdas.api_ingestion.extract import Extraction
from weir_lambdas.api_ingestion.fetch import Calls
from weir_lambdas.api_ingestion.pace import Pace
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient, Resolver, system_resolver
from weir_lambdas.common.errors import ConfigInvalid, WeirError
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.landing.batch import Batch, PlaceForgotten, Source, Start
from weir_lambdas.landing.infer import Inference

SNAPSHOT_SECONDS = 86_400.0
"""A source that is read whole is not gone on with after a day: its pages have moved."""

FORGOTTEN = (400, 404, 410)
"""Statuses that a cursor, a page's address or a job gets once it has expired. Where they mean
something else, the first page gets them too."""


class RestSource(Source):
    """A REST API.

    Parameters
    ----------
    config
        The source's configuration.
    resolver
        Host and port -> addresses.
    pace
        What all runs of the source share; None: it has one run.
    troubled
        As of :class:`SourceClient`.
    """

    def __init__(
        self,
        config: SourceConfig,
        secrets: Secrets,
        clock: Clock,
        resolver: Resolver = system_resolver,
        pace: Pace | None = None,
        troubled: Callable[[WeirError], None] = lambda _error: None,
    ) -> None:
        if config.rest_api is None:
            raise ConfigInvalid("the source is no REST API", config.id)
        self._config, self._api = config, config.rest_api
        self._secrets, self._clock, self._resolver = secrets, clock, resolver
        self._pace, self._troubled = pace, troubled

    @property
    def fingerprint(self) -> str:
        """Hash of the requests' configuration, without what does not change their answers."""
        return digest(replace(self._api, limits=RequestLimits()))[:16]

    @property
    def resume_seconds(self) -> float:
        """Any age for an incremental source, a day for one that is read whole."""
        return float("inf") if self._api.incremental else SNAPSHOT_SECONDS

    def batches(self, start: Start) -> Generator[Batch]:
        """The records, a page a batch or more."""
        api, clock, secrets = self._api, self._clock, self._secrets
        budget = Budget(api.limits, clock, self._pace)
        egress = EgressClient(
            self._config.egress,
            api.endpoint,
            api.allowed_hosts,
            self._resolver,
            connections=budget.most,
        )
        timeout = float(api.limits.timeout_seconds)
        around = Around(
            secrets, clock, self._config.egress, self._resolver, egress.trusted, timeout
        )
        auth = authenticator(api.auth, around)
        client = SourceClient(
            egress,
            api.limits,
            budget,
            clock,
            start.remaining,
            auth,
            api.response_actions,
            troubled=self._troubled,
        )
        look = Inference(self._config.contract).look
        with ExitStack() as stack:
            if self._pace is not None:
                stack.enter_context(Company(self._pace, budget, clock))
            calls = stack.enter_context(Calls(client, budget.most))
            extraction = Extraction(api, calls, budget, egress, secrets, auth, clock, start, look)
            given = False
            # A result's address is often signed, and refused once that has expired.
            forgotten = {*FORGOTTEN, 403} if api.async_job else set(FORGOTTEN)
            try:
                for batch in extraction.batches():
                    given = True
                    yield batch
            except WeirError as error:
                if start.position is None or given or error.status not in forgotten:
                    raise
                raise PlaceForgotten(
                    f"{error.where}: {error.status} to the request at which the last call ended"
                ) from error
