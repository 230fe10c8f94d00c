"""What the kinds share: the base model, bounded strings, names, notification targets, status."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "weir.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

PAUSED = f"{GROUP}/paused"
RECONCILE_AT = f"{GROUP}/reconcile-at"
ADOPT = f"{GROUP}/adopt"


def cel(rule: str, message: str, field_path: str | None = None) -> dict[str, Any]:
    """One ``x-kubernetes-validations`` entry."""
    entry = {"rule": rule, "message": message}
    if field_path:
        entry["fieldPath"] = field_path
    return entry


def rules(*entries: dict[str, Any]) -> dict[str, Any]:
    """``json_schema_extra`` with these CEL rules."""
    return {"x-kubernetes-validations": list(entries)}


def exactly_one(*members: str) -> dict[str, Any]:
    """The rule of a union: exactly one of the members is set."""
    present = ", ".join(f"has(self.{member})" for member in members)
    return cel(
        f"[{present}].filter(x, x).size() == 1",
        f"set exactly one of {', '.join(members)}",
    )


def unchanging(*fields: str) -> list[dict[str, Any]]:
    """Fields that can't change, be removed or be added after creation.

    The rule stands on the parent and asks ``has`` on both sides: on the field itself, removing it
    and adding it again would pass.
    """
    return [
        cel(
            f"has(self.{name}) == has(oldSelf.{name}) && "
            f"(!has(self.{name}) || self.{name} == oldSelf.{name})",
            f"{name} can't be changed: delete the object and create it anew",
        )
        for name in fields
    ]


class Model(BaseModel):
    """Base of every part of a resource: camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


def list_map(*keys: str) -> dict[str, Any]:
    """``json_schema_extra`` of a list whose items are told apart by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def string_set() -> dict[str, Any]:
    """``json_schema_extra`` of a list of strings without repetition."""
    return {"x-kubernetes-list-type": "set"}


QUOTE_IT = cel(
    "!self.exists(k, k in ['true', 'false'])",
    "a key is true or false: YAML reads the bare words y, n, yes, no, on, off as booleans; quote it",
)

ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
]
Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=127, pattern=r"^[A-Za-z_][A-Za-z0-9_$]*$")
]
"""A column, table or schema of Redshift and of the Glue catalog."""
Path = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Sql = Annotated[str, StringConstraints(min_length=1, max_length=32_768)]
Duration = Annotated[
    str,
    StringConstraints(
        max_length=16,
        pattern=r"^([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$",
        min_length=2,
    ),
]
"""Such as ``90s``, ``5m``, ``1h30m``, ``7d``."""
Arn = Annotated[
    str,
    StringConstraints(
        min_length=20,
        max_length=2048,
        pattern=r"^arn:aws[a-zA-Z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+$",
    ),
]
BucketName = Annotated[
    str, StringConstraints(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")
]
BucketRef = Annotated[
    str,
    StringConstraints(
        min_length=3,
        max_length=63,
        pattern=r"^(\$\{BUCKET:(raw|processed|curated|artifacts|quarantine)\}|[a-z0-9][a-z0-9.-]*[a-z0-9])$",
    ),
]
"""A bucket's name, or ``${BUCKET:zone}`` for the Platform's bucket of that zone."""
Prefix = Annotated[
    str,
    StringConstraints(
        min_length=2, max_length=512, pattern=r"^[A-Za-z0-9!_.*'()=-][A-Za-z0-9!_.*'()=/-]*/$"
    ),
]
"""An S3 prefix without a leading slash, with a closing one: ``customers/``."""
TimeZone = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"),
]
Schedule = Annotated[
    str,
    StringConstraints(
        min_length=9,
        max_length=256,
        pattern=r"^(rate\([1-9][0-9]{0,4} (minute|minutes|hour|hours|day|days)\)|cron\([^()]+\))$",
    ),
]
"""EventBridge Scheduler's ``rate(...)`` or ``cron(...)``."""
Partition = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=256,
        pattern=r"^([A-Za-z_][A-Za-z0-9_$]*|(year|month|day|hour)\([A-Za-z_][A-Za-z0-9_$]*(, ?[A-Za-z0-9_/+-]+)?\))$",
    ),
]
"""``year``, ``month``, ``day``, ``hour`` of the landing time, a column's name, or a transform of a
column in an optional zone: ``day(orderedAt, Europe/Berlin)``."""
DeletionPolicy = Literal["Retain", "Delete"]


class LocalRef(Model):
    """An object of the same namespace, by name."""

    name: ObjectName = Field(description="Name of the object, in this namespace.")


class NotificationTarget(Model):
    """Where a notification goes."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one("sns", "email")))

    sns: Arn | None = Field(None, description="ARN of an SNS topic that takes the message.")
    email: (
        Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
        | None
    ) = Field(None, description="Address that is subscribed to the topic; AWS asks it to confirm.")


Targets = Annotated[list[NotificationTarget], Field(max_length=10)]


class Notifications(Model):
    """Who hears of what. Without an entry the Platform's own are used."""

    on_failure: Targets = Field(default_factory=list, description="A run failed.")
    on_quality: Targets = Field(
        default_factory=list, description="Rows broke a rule or went to quarantine."
    )
    on_success: Targets = Field(default_factory=list, description="A run succeeded.")


class Condition(Model):
    """One condition, as in the Kubernetes API conventions, with its own observedGeneration."""

    type: Annotated[str, StringConstraints(max_length=64)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, StringConstraints(max_length=128)]
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    last_transition_time: Annotated[str, StringConstraints(max_length=40)] | None = None


class ResourceStatus(Model):
    """One AWS resource of the object."""

    kind: Annotated[str, StringConstraints(max_length=64)]
    id: Annotated[str, StringConstraints(max_length=128)]
    name: Annotated[str, StringConstraints(max_length=2048)]
    arn: Annotated[str, StringConstraints(max_length=2048)] | None = None
    state: Annotated[str, StringConstraints(max_length=64)] | None = None
    mark: Annotated[str, StringConstraints(max_length=16)] | None = Field(
        None, description="Stands for the wanted state that was last applied and found on AWS."
    )


class StageStatus(Model):
    """One line of a run's account. All counts are rows."""

    stage: Annotated[str, StringConstraints(max_length=128)]
    kind: Annotated[str, StringConstraints(max_length=32)]
    rows_in: int = 0
    rows_out: int = 0
    quarantined: int | None = None
    deduplicated: int | None = None
    filtered: int | None = None
    inserted: int | None = None
    updated: int | None = None
    stale: int | None = None
    deleted: int | None = None
    deletions: int | None = None
    seconds: float | None = None


class RunStatus(Model):
    """The last run that the ledger has of this object."""

    run: Annotated[str, StringConstraints(max_length=128)]
    state: Annotated[str, StringConstraints(max_length=32)]
    started: Annotated[str, StringConstraints(max_length=40)] | None = None
    finished: Annotated[str, StringConstraints(max_length=40)] | None = None
    rows: int | None = None
    bytes: int | None = None
    quarantined: int | None = None
    message: Annotated[str, StringConstraints(max_length=4096)] | None = None
    account: Annotated[list[StageStatus], Field(max_length=64)] | None = None
    seconds: Annotated[dict[str, float], Field(max_length=32)] | None = None


class Status(Model):
    """What every kind's status has."""

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        None, description="The spec's generation that this status speaks of."
    )
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default_factory=list, json_schema_extra=list_map("type")
    )
    resources: Annotated[list[ResourceStatus], Field(max_length=256)] = Field(
        default_factory=list,
        description="The AWS resources that belong to this object.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    links: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=2048)]], Field(max_length=16)
    ] = Field(default_factory=dict, description="AWS console pages of this object.")
    reconcile_at: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="Echo of the annotation weir.dev/reconcile-at once it was obeyed."
    )
    moved_from: Annotated[str, StringConstraints(max_length=320)] | None = Field(
        None, description="Echo of the annotation weir.dev/moved-from once it was obeyed."
    )


class CustomResource(Model):
    """An object of group weir.dev: its metadata as the API server has it, spec and status."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["weir.dev/v1alpha1"] = "weir.dev/v1alpha1"
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        """``metadata.namespace``; empty for a cluster-scoped object."""
        return str(self.metadata.get("namespace", ""))

    @property
    def uid(self) -> str:
        """``metadata.uid``; empty before the API server gave one."""
        return str(self.metadata.get("uid", ""))

    @property
    def generation(self) -> int:
        """``metadata.generation``; 0 before the API server gave one."""
        return int(self.metadata.get("generation", 0))

    @property
    def annotations(self) -> dict[str, str]:
        """``metadata.annotations``, never None."""
        return dict(self.metadata.get("annotations") or {})

    @property
    def id(self) -> str:
        """``namespace/name``, the object's key in the state table."""
        return f"{self.namespace}/{self.name}"
