"""Schemas by their ids, from AWS Glue or a registry with Confluent's HTTP API; each asked for once.

A schema never changes under its id, so what was found is kept for the process's life. An id that is
not known is asked for again, soon and after a while: the schema may have been registered late.

Sources: AWS Glue API Reference, *GetSchemaVersion*; Confluent Schema Registry API Reference,
*GET /schemas/ids/{id}* and *GET /subjects/{subject}/versions/{version}*.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from weir_contract.secrets import SecretRef, secret_refs
from weir_contract.sources import Registry, SourceConfig
from weir_lambdas.common.aws import client, error_code
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient, Request, without_query
from weir_lambdas.common.errors import (
    SourceBadAnswer,
    SourceForbidden,
    SourceNotFound,
    SourceUnauthorized,
    SourceUnavailable,
    WeirError,
)
from weir_lambdas.common.secrets import Secrets

UNKNOWN_SECONDS = 60.0
"""How long an id counts as unknown before it is asked for again."""

PAUSES = (0.5, 1.5)
"""Seconds before an id that is not known is asked for again: a producer that has just registered its
schema writes before all replicas of the registry have it."""

DOUBTED = 4
"""Unknown ids from which on each is believed at once: what stands there are no ids."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_REFERENCES = 200
"""Schemas that one schema may lean on, over all levels."""

UNKNOWN_CODES = (40401, 40402, 40403)
"""Subject, version or schema not found (Schema Registry API Reference, *Errors*). Another 404 is not of
a registry: of a proxy, or of a path that is wrong."""

MAX_KEPT = 1_000


class UnknownSchema(LookupError):
    """The registry does not know the id, or what it has under it is no Avro schema."""


@dataclass(frozen=True)
class Definition:
    """A schema as its registry has it, and those that it refers to, each after its own."""

    text: str
    references: tuple[str, ...] = ()


class Schemas(Protocol):
    """Finds Avro schemas."""

    def find(self, schema: str) -> Definition:
        """The schema of an id.

        Raises
        ------
        UnknownSchema
            There is none.
        WeirError
            The registry can't be asked: another time it may.
        """


def schemas_of(config: SourceConfig, secrets: Secrets, clock: Clock) -> Schemas | None:
    """The registry of a source, or None where it names none."""
    registry = config.stream.registry if config.stream else None
    if registry is None:
        return None
    if registry.kind == "glue":
        glue = client("glue")
        return Kept(lambda schema: glue_schema(glue, registry.name, schema), clock)
    http = EgressClient(config.egress, registry.name)
    return Kept(Confluent(http, registry, secrets).find, clock)


class Kept:
    """Keeps what was found.

    Parameters
    ----------
    find
        Asks the registry.
    """

    def __init__(self, find: Callable[[str], Definition], clock: Clock) -> None:
        self._find, self._clock = find, clock
        self._known: dict[str, Definition] = {}
        self._unknown: dict[str, tuple[float, str]] = {}

    def find(self, schema: str) -> Definition:
        """See :meth:`Schemas.find`."""
        known = self._known.get(schema)
        if known is not None:
            return known
        now = self._clock.monotonic()
        until, why = self._unknown.get(schema, (0.0, ""))
        if now < until:
            raise UnknownSchema(why)
        for table in (self._known, self._unknown):
            if len(table) >= MAX_KEPT:
                table.clear()
        try:
            self._known[schema] = found = self._ask(schema)
        except UnknownSchema as error:
            self._unknown[schema] = self._clock.monotonic() + UNKNOWN_SECONDS, str(error)
            raise
        return found

    def _ask(self, schema: str) -> Definition:
        """Ask, and again where the answer may be a replica's that does not know it yet."""
        for pause in PAUSES if len(self._unknown) < DOUBTED else ():
            try:
                return self._find(schema)
            except UnknownSchema:
                self._clock.sleep(pause)
        return self._find(schema)


def glue_schema(glue: Any, registry: str, schema: str) -> Definition:
    """A schema version of AWS Glue, by its UUID.

    Raises
    ------
    UnknownSchema
        Glue does not know it, it is another registry's, or no Avro.
    WeirError
        Glue can't be asked.
    """
    where = f"Glue Schema Registry {registry}"
    try:
        found = glue.get_schema_version(SchemaVersionId=schema)
    except ClientError as error:
        code = error_code(error)
        if code == "EntityNotFoundException":
            raise UnknownSchema(
                f"the Glue Schema Registry has no schema version {schema}"
            ) from error
        if code == "AccessDeniedException":
            raise SourceForbidden(
                f"the function's role may not read schema version {schema} (glue:GetSchemaVersion)",
                where,
            ) from error
        raise SourceUnavailable(f"Glue answered {code}", where) from error
    except BotoCoreError as error:
        raise SourceUnavailable("Glue could not be reached", where) from error
    # The role may read every registry's schemas, for IAM can't tell them apart by id: this is what
    # keeps a source to its own.
    if f":schema/{registry}/" not in str(found.get("SchemaArn", "")):
        raise UnknownSchema(f"schema version {schema} is of another registry than {registry}")
    return Definition(_avro(found.get("DataFormat", "AVRO"), schema, found["SchemaDefinition"]))


def _avro(kind: str, schema: str, text: str) -> str:
    if kind != "AVRO":
        raise UnknownSchema(f"schema {schema} is {kind}, where Avro was expected")
    return text


class Confluent:
    """A registry with Confluent's HTTP API.

    Parameters
    ----------
    http
        Goes where the Platform allows, and tells the credentials to the registry's origin alone.
    """

    def __init__(self, http: EgressClient, registry: Registry, secrets: Secrets) -> None:
        self._http, self._secrets = http, secrets
        self._base = registry.name.rstrip("/")
        self._credentials = registry.credentials

    def find(self, schema: str) -> Definition:
        """See :meth:`Schemas.find`."""
        found = self._get(f"schemas/ids/{quote(schema, safe='')}", schema)
        text = _avro(str(found.get("schemaType") or "AVRO"), schema, str(found["schema"]))
        leaned: dict[tuple[str, int], str] = {}
        self._references(found, leaned, schema)
        return Definition(text, tuple(leaned.values()))

    def _references(
        self, found: dict[str, Any], leaned: dict[tuple[str, int], str], schema: str
    ) -> None:
        """What a schema refers to, the innermost first."""
        for one in found.get("references") or ():
            named = str(one["subject"]), int(one["version"])
            if named in leaned:
                continue
            if len(leaned) >= MAX_REFERENCES:
                raise UnknownSchema(f"schema {schema} refers to more than {MAX_REFERENCES} others")
            path = f"subjects/{quote(named[0], safe='')}/versions/{named[1]}"
            inner = self._get(path, schema)
            self._references(inner, leaned, schema)
            leaned[named] = str(inner["schema"])

    def _get(self, path: str, schema: str) -> dict[str, Any]:
        url = f"{self._base}/{path}"
        where = without_query(url)
        headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if self._credentials:
            headers["Authorization"] = self._basic(self._credentials)
        try:
            answer, _ = self._http.send(Request(url, headers=headers, timeout_seconds=10))
            body = answer.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise SourceUnavailable("the schema registry could not be reached", where) from error
        if answer.status == 404:
            if _error_code(body) in UNKNOWN_CODES:
                raise UnknownSchema(f"the schema registry has no schema {schema}")
            raise SourceNotFound(
                "there is no schema registry: is the path of registry.confluent.url right?", where
            )
        if answer.status != 200:
            raise _refusal(answer.status, where)
        try:
            found = json.loads(body)
        except ValueError as error:
            raise SourceBadAnswer("the schema registry's answer is no JSON", where) from error
        if not isinstance(found, dict) or "schema" not in found:
            raise SourceBadAnswer("the schema registry's answer has no schema", where)
        return found

    def _basic(self, written: str) -> str:
        """Basic authentication (RFC 7617) with the secret's ``username`` and ``password``."""
        name = next(secret_refs(written)).name
        pair = [self._secrets.resolve(SecretRef(name, key)) for key in ("username", "password")]
        return "Basic " + base64.b64encode(":".join(pair).encode()).decode()


def _error_code(body: bytes) -> Any:
    """What a registry's refusal calls itself; None where it is no registry's."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    code = found.get("error_code") if isinstance(found, dict) else None
    return code if isinstance(code, int) else None


def _refusal(status: int, where: str) -> WeirError:
    kinds: dict[int, type[WeirError]] = {401: SourceUnauthorized, 403: SourceForbidden}
    return kinds.get(status, SourceUnavailable)(f"the schema registry answered {status}", where)
