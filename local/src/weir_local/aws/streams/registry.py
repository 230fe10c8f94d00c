"""The Glue Schema Registry, which MiniStack does not have.

AWS Glue API Reference, "Schema"; AWS Glue Developer Guide, "AWS Glue Schema Registry" (formats,
compatibility modes, quotas). Avro is checked for syntax and compatibility, JSON for syntax;
a Protobuf schema is taken as it is.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from weir_local.aws.resources import Call
from weir_local.aws.streams import avro
from weir_local.aws.wire import Handler, Reply, Request, json_error

Given = dict[str, Any]
Schema = dict[str, Any]

DEFAULT = "default-registry"
FORMATS = ("AVRO", "JSON", "PROTOBUF")
NAME = re.compile(r"[a-zA-Z0-9-_$#.]{1,255}")
DEFINITION_BYTES = 170_000

COMPATIBILITIES: dict[str, tuple[bool, bool, bool]] = {
    "NONE": (False, False, False),
    "DISABLED": (False, False, False),
    "BACKWARD": (True, False, False),
    "BACKWARD_ALL": (True, False, True),
    "FORWARD": (False, True, False),
    "FORWARD_ALL": (False, True, True),
    "FULL": (True, True, False),
    "FULL_ALL": (True, True, True),
}
"""Mode -> whether the new reads the old, the old reads the new, and every version counts."""


class Refused(Exception):
    """A call that Glue refuses: the error's code and message."""


def arn(path: str) -> str:
    """An ARN of Glue in the caller's account and region."""
    from ministack.core.responses import get_account_id, get_region

    return f"arn:aws:glue:{get_region()}:{get_account_id()}:{path}"


def registry_name(given: Given) -> str:
    """The registry that a RegistryId names."""
    return str(given.get("RegistryName") or str(given.get("RegistryArn") or DEFAULT)).rsplit(
        "/", 1
    )[-1]


def schema_names(given: Given) -> tuple[str, str]:
    """The registry and the schema that a SchemaId names."""
    if given.get("SchemaArn"):
        registry, name = str(given["SchemaArn"]).rsplit("/", 2)[-2:]
        return registry, name
    return str(given.get("RegistryName") or DEFAULT), str(given.get("SchemaName") or "")


def registry(name: str) -> Given:
    """A registry; the default one is made by its first schema.

    :raises Refused: there is none
    """
    found = _registries.get(name)
    if found is None:
        raise Refused("EntityNotFoundException", f"Registry is not found. RegistryName: {name}")
    return dict(found)


def schema(given: Given) -> Schema:
    """The stored schema of a SchemaId.

    :raises Refused: there is none
    """
    names = schema_names(given)
    found: Schema | None = _schemas.get(names)
    if found is None:
        raise Refused(
            "EntityNotFoundException",
            f"Schema is not found. RegistryName: {names[0]}, SchemaName: {names[1]}",
        )
    return found


def canonical(data_format: str, definition: str) -> str:
    """A definition in the form in which definitions are compared.

    :raises Refused: it is no schema of its format, or too large
    """
    if not definition or len(definition.encode()) > DEFINITION_BYTES:
        raise Refused("InvalidInputException", "The schema definition is empty or over 170 KB")
    if data_format == "PROTOBUF":
        return definition
    try:
        if data_format == "AVRO":
            avro.parse(definition)
        return json.dumps(json.loads(definition), sort_keys=True)
    except ValueError as wrong:
        message = f"Schema definition of {data_format} data format is invalid: {wrong}"
        raise Refused("InvalidInputException", message) from wrong


def compatible(found: Schema, definition: str) -> bool:
    """Whether a new version keeps a schema's compatibility mode."""
    new_reads, old_reads, all_count = COMPATIBILITIES[found["Compatibility"]]
    if found["DataFormat"] != "AVRO":
        return True
    versions = [each for each in found["Versions"] if each["Status"] == "AVAILABLE"]
    for version in versions if all_count else versions[-1:]:
        old = version["SchemaDefinition"]
        if new_reads and avro.incompatible(definition, old):
            return False
        if old_reads and avro.incompatible(old, definition):
            return False
    return True


def add_version(found: Schema, definition: str) -> Given:
    """Add a version, or find the one with the same definition.

    :raises Refused: the definition is none, or the schema takes no versions
    """
    form = canonical(found["DataFormat"], definition)
    for version in found["Versions"]:
        if version["Canonical"] == form and version["Status"] == "AVAILABLE":
            return dict(version)
    if found["Compatibility"] == "DISABLED" and found["Versions"]:
        raise Refused("InvalidInputException", "Versioning is disabled for this schema")
    version = {
        "SchemaVersionId": str(uuid.uuid4()),
        "SchemaDefinition": definition,
        "Canonical": form,
        "DataFormat": found["DataFormat"],
        "SchemaArn": found["SchemaArn"],
        "VersionNumber": found["NextSchemaVersion"],
        "Status": "AVAILABLE" if compatible(found, definition) else "FAILURE",
        "CreatedTime": now(),
    }
    found["Versions"] = [*found["Versions"], version]
    found["NextSchemaVersion"] += 1
    if version["Status"] == "AVAILABLE":
        found["LatestSchemaVersion"] = version["VersionNumber"]
    return version


def now() -> str:
    """This moment, as Glue writes times of schemas."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


def told(value: Given, *without: str) -> Given:
    """A stored structure without what is ours."""
    hidden = {"Canonical", "Versions", *without}
    return {name: each for name, each in value.items() if name not in hidden}


def create_registry(given: Given) -> Given:
    """CreateRegistry."""
    name = str(given.get("RegistryName") or "")
    if not NAME.fullmatch(name):
        raise Refused("InvalidInputException", f"RegistryName {name!r} is invalid")
    if name in _registries:
        raise Refused("AlreadyExistsException", f"Registry already exists. RegistryName: {name}")
    found = {
        "RegistryName": name,
        "RegistryArn": arn(f"registry/{name}"),
        "Description": given.get("Description", ""),
        "Status": "AVAILABLE",
        "CreatedTime": now(),
        "UpdatedTime": now(),
    }
    _registries[name] = found
    tags = keep_tags(found["RegistryArn"], given)
    return {**told(found, "Status", "CreatedTime", "UpdatedTime"), "Tags": tags}


def keep_tags(resource: str, given: Given) -> dict[str, str]:
    """Store the tags of what is made."""
    from ministack.services import glue

    tags = dict(given.get("Tags") or {})
    if tags:
        glue._tags[resource] = tags
    return tags


def delete_registry(given: Given) -> Given:
    """DeleteRegistry, with its schemas."""
    found = registry(registry_name(given.get("RegistryId") or {}))
    name = found["RegistryName"]
    del _registries[name]
    for names in [names for names in _schemas if names[0] == name]:
        del _schemas[names]
    return {**told(found, "Description", "CreatedTime", "UpdatedTime"), "Status": "DELETING"}


def create_schema(given: Given) -> Given:
    """CreateSchema, with its first version."""
    where = registry_name(given.get("RegistryId") or {})
    if where == DEFAULT and where not in _registries:
        create_registry({"RegistryName": DEFAULT})
    found = registry(where)
    name = str(given.get("SchemaName") or "")
    data_format = given.get("DataFormat")
    mode = given.get("Compatibility") or "NONE"
    if not NAME.fullmatch(name):
        raise Refused("InvalidInputException", f"SchemaName {name!r} is invalid")
    if data_format not in FORMATS or mode not in COMPATIBILITIES:
        raise Refused("InvalidInputException", "DataFormat or Compatibility is not known")
    if (where, name) in _schemas:
        raise Refused("AlreadyExistsException", f"Schema already exists. SchemaName: {name}")
    made: Schema = {
        "RegistryName": where,
        "RegistryArn": found["RegistryArn"],
        "SchemaName": name,
        "SchemaArn": arn(f"schema/{where}/{name}"),
        "Description": given.get("Description", ""),
        "DataFormat": data_format,
        "Compatibility": mode,
        "SchemaCheckpoint": 1,
        "LatestSchemaVersion": 1,
        "NextSchemaVersion": 1,
        "SchemaStatus": "AVAILABLE",
        "CreatedTime": now(),
        "UpdatedTime": now(),
        "Versions": [],
    }
    version: Given = {}
    if given.get("SchemaDefinition"):
        version = add_version(made, str(given["SchemaDefinition"]))
    _schemas[(where, name)] = made
    answer = {
        **told(made, "CreatedTime", "UpdatedTime"),
        "Tags": keep_tags(made["SchemaArn"], given),
    }
    if version:
        answer["SchemaVersionId"] = version["SchemaVersionId"]
        answer["SchemaVersionStatus"] = version["Status"]
    return answer


def update_schema(given: Given) -> Given:
    """UpdateSchema: its compatibility and description."""
    found = schema(given.get("SchemaId") or {})
    mode = given.get("Compatibility")
    if mode is not None and mode not in COMPATIBILITIES:
        raise Refused("InvalidInputException", f"Compatibility {mode} is not known")
    found["Compatibility"] = mode or found["Compatibility"]
    found["Description"] = given.get("Description", found["Description"])
    found["UpdatedTime"] = now()
    return {name: found[name] for name in ("SchemaArn", "SchemaName", "RegistryName")}


def delete_schema(given: Given) -> Given:
    """DeleteSchema, with its versions."""
    found = schema(given.get("SchemaId") or {})
    del _schemas[(found["RegistryName"], found["SchemaName"])]
    return {
        "SchemaArn": found["SchemaArn"],
        "SchemaName": found["SchemaName"],
        "Status": "DELETING",
    }


def register(given: Given) -> Given:
    """RegisterSchemaVersion."""
    found = schema(given.get("SchemaId") or {})
    version = add_version(found, str(given.get("SchemaDefinition") or ""))
    return {name: version[name] for name in ("SchemaVersionId", "VersionNumber", "Status")}


def version_of(given: Given) -> Given:
    """The version that a call names by its id, its number or as the latest.

    :raises Refused: there is none
    """
    wanted = given.get("SchemaVersionId")
    if wanted:
        versions = [each for found in _schemas.values() for each in found["Versions"]]
        match = next((each for each in versions if each["SchemaVersionId"] == wanted), None)
    else:
        found = schema(given.get("SchemaId") or {})
        asked = given.get("SchemaVersionNumber") or {}
        number = asked.get("VersionNumber")
        number = found["LatestSchemaVersion"] if asked.get("LatestVersion") else number
        match = next((each for each in found["Versions"] if each["VersionNumber"] == number), None)
    if match is None:
        raise Refused("EntityNotFoundException", "Schema version is not found.")
    return dict(match)


def get_version(given: Given) -> Given:
    """GetSchemaVersion."""
    return told(version_of(given))


def by_definition(given: Given) -> Given:
    """GetSchemaByDefinition."""
    found = schema(given.get("SchemaId") or {})
    form = canonical(found["DataFormat"], str(given.get("SchemaDefinition") or ""))
    for version in found["Versions"]:
        if version["Canonical"] == form:
            return told(version, "SchemaDefinition", "VersionNumber")
    raise Refused("EntityNotFoundException", "Schema version is not found.")


def check(given: Given) -> Given:
    """CheckSchemaVersionValidity."""
    try:
        canonical(str(given.get("DataFormat")), str(given.get("SchemaDefinition") or ""))
    except Refused as refused:
        return {"Valid": False, "Error": str(refused.args[1])}
    return {"Valid": True}


def list_schemas(given: Given) -> Given:
    """ListSchemas."""
    wanted = given.get("RegistryId")
    fields = (
        "RegistryName",
        "SchemaName",
        "SchemaArn",
        "Description",
        "SchemaStatus",
        "CreatedTime",
        "UpdatedTime",
    )
    return {
        "Schemas": [
            {field: found[field] for field in fields}
            for names, found in sorted(_schemas.items())
            if wanted is None or names[0] == registry_name(wanted)
        ]
    }


def list_versions(given: Given) -> Given:
    """ListSchemaVersions."""
    found = schema(given.get("SchemaId") or {})
    return {"Schemas": [told(each, "SchemaDefinition", "DataFormat") for each in found["Versions"]]}


OPERATIONS: dict[str, Callable[[Given], Given]] = {
    "CheckSchemaVersionValidity": check,
    "CreateRegistry": create_registry,
    "CreateSchema": create_schema,
    "DeleteRegistry": delete_registry,
    "DeleteSchema": delete_schema,
    "GetRegistry": lambda given: registry(registry_name(given.get("RegistryId") or {})),
    "GetSchema": lambda given: told(schema(given.get("SchemaId") or {})),
    "GetSchemaByDefinition": by_definition,
    "GetSchemaVersion": get_version,
    "ListRegistries": lambda _: {"Registries": [dict(each) for each in _registries.values()]},
    "ListSchemaVersions": list_versions,
    "ListSchemas": list_schemas,
    "RegisterSchemaVersion": register,
    "UpdateSchema": update_schema,
}


def resource(call: Call) -> str | None:
    """The ARN that a call is judged on; a version by its id is judged on ``*``.

    AWS Glue Developer Guide, "IAM examples for AWS Glue Schema Registry".
    """
    given = call.given
    if call.operation not in OPERATIONS:
        return None
    if "SchemaId" in given:
        return call.arn("glue", "schema/" + "/".join(schema_names(given["SchemaId"])))
    if call.operation == "CreateSchema":
        where = registry_name(given.get("RegistryId") or {})
        return call.arn("glue", f"schema/{where}/{given.get('SchemaName')}")
    if "Registry" in call.operation:
        named = given.get("RegistryId") or {"RegistryName": given.get("RegistryName")}
        return call.arn("glue", f"registry/{registry_name(named)}")
    return "*"


def with_registry(inner: Handler) -> Handler:
    """Glue with the registry's operations."""

    async def handler(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        request = Request("glue", method, path, headers, body, query)
        operation = OPERATIONS.get(request.operation)
        if operation is None:
            return await inner(method, path, headers, body, query)
        try:
            answer = operation(request.json)
        except Refused as refused:
            return json_error(*refused.args)
        return (
            200,
            {"Content-Type": "application/x-amz-json-1.1"},
            json.dumps(answer).encode(),
        )

    return handler


_registries: Any = {}
_schemas: Any = {}


def install() -> None:
    """Add the registry to Glue, and its state to what Glue persists."""
    global _registries, _schemas
    from ministack import app
    from ministack.core.responses import AccountRegionScopedDict
    from ministack.services import glue

    from weir_local.aws import resources

    _registries, _schemas = AccountRegionScopedDict(), AccountRegionScopedDict()
    inner = resources.RESOURCES["glue"]
    resources.RESOURCES["glue"] = lambda call: resource(call) or inner(call)
    app.SERVICE_HANDLERS["glue"] = with_registry(app.SERVICE_HANDLERS["glue"])
    glue._ALL_STATE.update({"schema_registries": _registries, "registry_schemas": _schemas})
