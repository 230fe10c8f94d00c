"""What the operator is told at its start: by flags, and by the environment where a flag is left out."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import kopf
import structlog

from weir.blueprint.config import seconds
from weir.blueprint.naming import CLUSTER_ID
from weir.kube.client import PAGE
from weir.kube.election import Terms

SECRET_WORDS = ("secret", "password", "token", "authorization", "credential", "apikey", "api_key")
"""Keys of a log line whose values are not written."""
HIDDEN = "(hidden)"


POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the namespace that it is in (Kubernetes, "Accessing the API from a Pod")."""

IDLE_SECONDS = 0.1
"""For which Kopf keeps an object's last event, and a task to wait for the next one: after a restart all
objects come at once, and their ``managedFields`` with them."""
DRIFT_HELP = (
    "the longest time between two looks at what an object has on AWS, as 10m; a Platform's "
    "driftInterval rules where it is shorter"
)


@dataclass(frozen=True)
class Settings:
    """All settings of one operator process. Times are seconds.

    Parameters
    ----------
    cluster
        The cluster's id, part of every AWS name; never changes.
    artifacts
        Folder with ``artifacts.json`` and the code that it lists.
    namespaces
        Namespaces to watch; empty for all.
    bind
        Address of metrics and health: loopback, unless the pod says otherwise.
    stuck_seconds
        A reconcile that takes longer hangs: /healthz fails, so that the process is restarted.
    stop_seconds
        What reconciles under way get to end, once the process is asked to.
    instance
        Who reports events: the pod's name.
    identity
        Who holds leases: like no other process that may live at the same time.
    lease_namespace
        Where the Leases are: the operator's own namespace.
    dns_resolver
        IP address and port that MX records are asked of; None: the machine's resolvers.
    """

    cluster: str
    artifacts: str
    namespaces: tuple[str, ...] = ()
    workers: int = 8
    aws_workers: int = 16
    drift_interval: float = 600.0
    feed_interval: float = 3.0
    drain_seconds: float = 900.0
    bind: str = "127.0.0.1"
    port: int = 8080
    log_format: str = "json"
    log_level: str = "info"
    kubeconfig: str | None = None
    per_object_metrics: bool = True
    stuck_seconds: float = 600.0
    stop_seconds: float = 20.0
    instance: str = "weir-operator"
    identity: str = field(default_factory=lambda: f"weir-operator_{uuid.uuid4().hex[:12]}")
    lease_namespace: str = "default"
    dns_resolver: tuple[str, int] | None = None
    terms: Terms = field(default_factory=Terms)
    runtime: str = "python3.11"
    architecture: str = "x86_64"


def read(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings from flags and environment. Exits with a message where one is wrong."""

    def env(name: str, default: str) -> str:
        return environment.get(f"WEIR_{name}", default)

    parser = argparse.ArgumentParser(
        prog="python -m weir", description="The Weir operator.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--cluster-id", default=env("CLUSTER_ID", ""), help="the cluster's id ($WEIR_CLUSTER_ID)")
    add("--artifacts", default=env("ARTIFACTS", "dist/artifacts"), help="folder of the code")
    add("--namespaces", default=env("NAMESPACES", ""), help="with commas; none means all")
    add("--workers", type=int, default=int(env("WORKERS", "8")), help="objects at a time")
    add("--aws-workers", type=int, default=int(env("AWS_WORKERS", "16")), help="calls at a time")
    add("--drift-interval", type=_duration, default=env("DRIFT_INTERVAL", "10m"), help=DRIFT_HELP)
    add("--feed-interval", type=float, default=float(env("FEED_INTERVAL", "3")), help="seconds")
    add("--drain-seconds", type=float, default=float(env("DRAIN_SECONDS", "900")), help="seconds")
    add(
        "--listen",
        type=_address,
        default=env("LISTEN", "127.0.0.1:8080"),
        help="host:port of metrics and health ($WEIR_LISTEN)",
    )
    add("--log-format", choices=("json", "text"), default=env("LOG_FORMAT", "json"))
    add("--log-level", default=env("LOG_LEVEL", "info"))
    add("--kubeconfig", default=None, help="default: the pod's account, else $KUBECONFIG")
    add(
        "--lease-namespace",
        default=env("LEASE_NAMESPACE", "") or _pod_namespace(),
        help="namespace of the Leases ($WEIR_LEASE_NAMESPACE); default: the pod's own",
    )
    add(
        "--dns-resolver",
        type=_resolver,
        default=env("DNS_RESOLVER", ""),
        help="address:port that MX records are asked of; default: the machine's resolvers",
    )
    add("--lease-duration", type=float, default=float(env("LEASE_DURATION", "15")), help="seconds")
    add("--renew-deadline", type=float, default=float(env("RENEW_DEADLINE", "10")), help="seconds")
    add("--retry-period", type=float, default=float(env("RETRY_PERIOD", "2")), help="seconds")
    add(
        "--stuck-after",
        type=_duration,
        default=env("STUCK_AFTER", "10m"),
        help="how long one reconcile may take before /healthz fails, as 10m",
    )
    add(
        "--stop-after",
        type=_duration,
        default=env("STOP_AFTER", "20s"),
        help="how long reconciles under way may take at the end, as 20s",
    )
    add("--function-runtime", default=env("FUNCTION_RUNTIME", "python3.11"))
    add(
        "--function-architecture",
        choices=("x86_64", "arm64"),
        default=env("FUNCTION_ARCHITECTURE", "x86_64"),
    )
    add(
        "--per-object-metrics",
        action=argparse.BooleanOptionalAction,
        default=env("PER_OBJECT_METRICS", "true") == "true",
    )
    found = parser.parse_args(arguments)
    if not CLUSTER_ID.match(found.cluster_id):
        parser.error(
            "--cluster-id (or WEIR_CLUSTER_ID) is needed: 1 to 16 of a-z, 0-9 and -. It is part of "
            "every AWS name, so choose it once and keep it"
        )
    try:
        terms = Terms(found.lease_duration, found.renew_deadline, found.retry_period)
    except ValueError as error:
        parser.error(str(error))
    instance = env("POD_NAME", environment.get("HOSTNAME", "weir-operator"))
    return Settings(
        cluster=found.cluster_id,
        artifacts=found.artifacts,
        namespaces=tuple(filter(None, found.namespaces.split(","))),
        workers=found.workers,
        aws_workers=found.aws_workers,
        drift_interval=found.drift_interval,
        feed_interval=found.feed_interval,
        drain_seconds=found.drain_seconds,
        bind=found.listen[0],
        port=found.listen[1],
        log_format=found.log_format,
        log_level=found.log_level,
        kubeconfig=found.kubeconfig,
        per_object_metrics=found.per_object_metrics,
        stuck_seconds=found.stuck_after,
        stop_seconds=found.stop_after,
        instance=instance,
        # A container that starts anew in its pod goes on with what the former one held.
        identity=f"{instance}_{env('POD_UID', '') or uuid.uuid4().hex[:12]}",
        lease_namespace=found.lease_namespace,
        dns_resolver=found.dns_resolver,
        terms=terms,
        runtime=found.function_runtime,
        architecture=found.function_architecture,
    )


def _pod_namespace() -> str:
    return POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.exists() else "default"


def _duration(text: str) -> float:
    try:
        return float(seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no address: use host:port")
    return host, int(port)


def _resolver(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, port = _address(text)
    try:
        return str(ip_address(host.strip("[]"))), port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{host!r} is no IP address") from error


def redact(_logger: Any, _method: str, event: Any) -> Any:
    """A structlog processor: values under keys that speak of secrets are not written."""
    return _redacted(event)


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: HIDDEN
            if any(word in str(key).lower() for word in SECRET_WORDS)
            else _redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return value


def set_up_logs(settings: Settings) -> None:
    """One line an event on standard error, of ours and of the libraries."""
    level = logging.getLevelName(settings.log_level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("botocore", "boto3", "urllib3", "kopf", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))


class NoDiffBase(kopf.DiffBaseStorage):
    """No object's last-handled state is kept, and no event's object is copied to compare it."""

    def build(self, **_: Any) -> Any:
        """An object's essence: nothing."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """The essence that was stored: none."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is written to the object."""


class NoProgress(kopf.ProgressStorage):
    """Handlers of events have no progress."""

    def fetch(self, **_: Any) -> Any:
        """A handler's progress: none."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is written to the object."""

    def purge(self, **_: Any) -> None:
        """There is nothing to take away."""

    def touch(self, **_: Any) -> None:
        """Nothing is written to the object."""

    def clear(self, *, essence: Any) -> Any:
        """An essence without our progress: as it is."""
        return essence


def kopf_settings() -> kopf.OperatorSettings:
    """Kopf as a watcher only: nothing is posted, scanned, throttled, or kept on the objects."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.networking.request_timeout = 30
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = IDLE_SECONDS
    return settings
