"""The function ``receive``: takes what an event source mapping delivers of a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weir_contract.sources import SourceConfig
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import Clock, SystemClock
from weir_lambdas.common.config import load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.log import log
from weir_lambdas.common.metrics import emit
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.stream_processor.backlog import Backlog
from weir_lambdas.stream_processor.decode import Decode, decoder
from weir_lambdas.stream_processor.events import Lane, ReadKey, lanes
from weir_lambdas.stream_processor.intake import RETRIED, Counts, Intake
from weir_lambdas.stream_processor.keys import key_reader
from weir_lambdas.stream_processor.loads import Loads
from weir_lambdas.stream_processor.positions import Positions
from weir_lambdas.stream_processor.registry import schemas_of
from weir_lambdas.stream_processor.waits import Waits
from weir_lambdas.trigger.executions import StepFunctions, new_name


@entry
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        A batch of Kinesis, Amazon MSK or self-managed Kafka.
    context
        Lambda's context: what is not decoded when its time runs out comes again.

    Returns
    -------
    dict
        ``{"batchItemFailures": [...]}``, the first record of each lane that is not committed.

    Raises
    ------
    WeirError
        The configuration can't be carried out; or a lane failed and the mapping takes no
        ``batchItemFailures``.
    """
    config = load_config(SourceConfig)
    clock = SystemClock()
    table = Table(client("dynamodb"), config.state_table)
    storage = Storage(client("s3"), config.kms_key_arn)

    def start(machine: str) -> None:
        executions = StepFunctions(client("stepfunctions"))
        executions.start(machine, new_name(clock), {"arrival": True})

    intake = Intake(
        config,
        Positions(table, config.id),
        storage,
        clock,
        loads_of(config, storage, clock, lambda: context.get_remaining_time_in_millis() / 1000),
    )
    backlog, waits = Backlog(table, config.id, clock), Waits(table, config.id, clock)
    return receive(config, event, intake, backlog, waits, clock, start)


_decoders: list[tuple[SourceConfig, Decode, ReadKey | None]] = []


def loads_of(
    config: SourceConfig, storage: Storage, clock: Clock, remaining: Callable[[], float]
) -> Loads:
    """What decodes the records of a source.

    Parameters
    ----------
    remaining
        Seconds that the call may still take.

    Raises
    ------
    ConfigInvalid
        It is no stream, or its schema is none.
    """
    if config.stream is None:
        raise ConfigInvalid("the source is no stream", config.id)
    decode, read_key = _decoder_of(config, storage, clock)
    return Loads(decode, config.stream.metadata, remaining, read_key=read_key)


def _decoder_of(
    config: SourceConfig, storage: Storage, clock: Clock
) -> tuple[Decode, ReadKey | None]:
    """What reads a source's records and their keys, made once a process: it keeps the schemas that it
    has found."""
    if not _decoders or _decoders[0][0] != config:
        secrets = Secrets(client("secretsmanager"), config.secrets, clock)
        schemas = schemas_of(config, secrets, clock)
        made = decoder(config, storage, schemas), key_reader(config, storage, schemas)
        _decoders[:] = [(config, *made)]
    return _decoders[0][1:]


def receive(
    config: SourceConfig,
    event: Mapping[str, Any],
    intake: Intake,
    backlog: Backlog,
    waits: Waits,
    clock: Clock,
    start: Callable[[str], None],
) -> dict[str, Any]:
    """Take a batch; what is not committed is named, and comes again.

    Parameters
    ----------
    start
        Starts an execution of the sealing state machine, by its ARN.

    Raises
    ------
    Exception
        What failed, where the mapping takes no ``batchItemFailures``.
    """
    stream = config.stream
    if stream is None:
        raise ConfigInvalid("the source is no stream", config.id)
    counts, failures, first = Counts(since=backlog.sealed()), [], None
    news = False
    for lane in lanes(event):
        failed = intake.receive(lane, counts)
        if failed is not None:
            place, error = failed
            first = first or error
            failures.append(lane.failure(place))
            log(
                "ERROR",
                "records not taken",
                source=config.id,
                lane=lane.title,
                place=str(place),
                error=type(error).__name__,
                reason=str(error),
            )
            news = _note(waits, lane, place, error) or news
    _tell(config, counts, len(failures), clock)
    if counts.records:
        try:
            if backlog.add(counts.bytes, stream, start):
                log("INFO", "sealing started before its time", source=config.id)
        except RETRIED as error:
            # The records are committed: they must not come again for this. The schedule seals.
            log("WARNING", "sealing not started", source=config.id, error=repr(error))
    if news:
        try:
            backlog.look(stream, start)
        except RETRIED as error:
            log("WARNING", "sealing not started", source=config.id, error=repr(error))
    if first is not None and not stream.partial:
        raise first
    return {"batchItemFailures": failures}


def _note(waits: Waits, lane: Lane, place: int, error: Exception) -> bool:
    try:
        return waits.note(lane, place, error)
    except RETRIED as failed:
        log("WARNING", "what failed is in this log alone", lane=lane.title, error=repr(failed))
        return False


def _tell(config: SourceConfig, counts: Counts, failures: int, clock: Clock) -> None:
    now = clock.now()
    metrics: dict[str, float] = {
        "RecordsReceived": counts.records,
        "RowsReceived": counts.rows,
        "ReceivedBytes": counts.bytes,
        "RecordsRepeated": counts.repeated,
        "RecordsRejected": counts.rejected,
        "RecordsLate": counts.late,
        "Tombstones": counts.tombstones,
        "ReceiveFailures": failures,
    }
    if counts.newest:
        metrics["StreamLagSeconds"] = max(0.0, now.timestamp() - min(counts.newest.values()))
    dimensions = {"Namespace": config.namespace, "Source": config.name}
    emit(config.metrics_namespace, dimensions, metrics)
