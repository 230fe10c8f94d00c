"""The shape of a source's rows, in a DataSource or shared as a DataSchema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
    QUOTE_IT,
    CustomResource,
    Identifier,
    Model,
    ObjectName,
    Path,
    Status,
    Text,
    TimeZone,
    cel,
    list_map,
    rules,
    string_set,
)
from weir_contract.rows import TYPE_PATTERN

TypeExpression = Annotated[str, StringConstraints(max_length=24, pattern=TYPE_PATTERN)]


class FieldSpec(Model):
    """One column."""

    name: Identifier = Field(description="The target column.")
    path: Path | None = Field(
        None,
        description="Where the value stands in the record: dotted names, [n] for list items. "
        "Default: the column's name.",
    )
    type: TypeExpression | None = Field(
        None,
        description="string, integer, number, decimal(p,s), boolean, date, timestamp, timestamptz, "
        "json or binary. Not stated: inferred on the first run and frozen in status.schema.",
    )
    nullable: bool | None = Field(None, description="Whether null is allowed. Default: true.")
    max_length: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        None, description="For strings: VARCHAR length in bytes. Default: 65535."
    )
    format: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        None, description="For date and timestamps: a Spark datetime pattern. Default: ISO 8601."
    )
    timezone: TimeZone | None = Field(
        None, description="Zone of timestamps written without an offset. Default: UTC."
    )
    on_misfit: Literal["quarantine", "null", "fail"] | None = Field(
        None,
        description="What becomes of a row whose value does not fit. Default: quarantine.",
    )
    classification: Literal["public", "internal", "personal", "sensitive"] | None = Field(
        None,
        description="How the column's content is to be treated. personal, sensitive: the metadata of "
        "landings have no least and greatest value of it.",
    )
    description: Text | None = Field(None, description="What the column means.")


class Evolution(Model):
    """What happens when the source's shape changes."""

    on_new_field: Literal["add", "ignore", "quarantine"] = Field(
        "ignore",
        description="A record has a field that the schema lacks. add: it becomes a column, with the "
        "type that its values show, from that landing on; at most 200 for a source. ignore: it stays "
        "in the raw zone. quarantine: take the row out.",
    )
    on_type_change: Literal["quarantine", "widen", "fail"] = Field(
        "quarantine",
        description="A value no longer fits its column's type. quarantine: onMisfit says what becomes "
        "of the row. widen: the column gets a type that holds the old values and the new, where there "
        "is one: integer and decimal to a greater decimal, strings a greater maxLength; else as "
        "quarantine. Keys, distkey and sortkey keep their type. fail: the run fails, and loads "
        "nothing, whatever onMisfit says.",
    )


RecordPath = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=512,
        pattern=r"^([^.\[\]\r\n]+|\[[0-9]{1,9}\])(\.[^.\[\]\r\n]+|\[[0-9]{1,9}\])*$",
    ),
]
"""Dotted names, with ``[n]`` for list items."""


COLUMN_NAMES = cel(
    "self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_$]{0,126}$'))",
    "a column's name has letters, digits, _ and $ only, at most 127, and starts with a letter or _",
)


class DeletionSpec(Model):
    """How a record says that its row is gone at the source."""

    path: RecordPath = Field(
        description="Where the mark stands in the record: op, __deleted, _ab_cdc_deleted_at; of a "
        "stream with metadata _stream.tombstone.",
    )
    values: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=128)]],
        Field(max_length=16),
    ] = Field(
        default_factory=list,
        description="Marks, as text, that mean a deletion: D. Default: any but null, an empty text, "
        "false and 0.",
        json_schema_extra=string_set(),
    )
    mapping: Annotated[dict[str, RecordPath], Field(max_length=64)] = Field(
        default_factory=dict,
        description="Column: path in a deletion record, where that is another than in a row: id: "
        "before.id. A path may lead on into a text that is JSON: id: _stream.key.id.",
        json_schema_extra=rules(
            QUOTE_IT,
            COLUMN_NAMES,
        ),
    )


class SchemaSpec(Model):
    """Which columns a source gives, of which type, and which rules they obey."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.fields) || !has(self.mapping) || "
                "self.fields.all(f, !(f.name in self.mapping) || !has(f.path))",
                "a column's path stands in mapping or in fields, not in both",
            )
        )
    )

    type: Literal["json"] = Field(
        "json",
        description="What the columns' paths lead through: records are JSON once they are landed. How "
        "the source writes them is its own format (restApi.format, files.format, stream.format).",
    )
    discovery: Literal["inferred", "crawler"] = Field(
        "inferred",
        description="Who tells the types that are not stated. inferred: the first landing. crawler: "
        "a Glue crawler over what was landed, or over the watched files.",
    )
    mapping: Annotated[dict[str, Path], Field(max_length=1600)] = Field(
        default_factory=dict,
        description="Target column: path in the record.",
        json_schema_extra=rules(
            QUOTE_IT,
            COLUMN_NAMES,
        ),
    )
    fields: Annotated[list[FieldSpec], Field(max_length=1600)] = Field(
        default_factory=list,
        description="Columns with types and more. A column may stand in mapping too.",
        json_schema_extra=list_map("name"),
    )
    keys: Annotated[list[Identifier], Field(max_length=16)] = Field(
        default_factory=list,
        description="Columns that identify a row.",
        json_schema_extra=string_set(),
    )
    deletion: DeletionSpec | None = Field(
        None,
        description="Which records are no rows but say that a row is gone. Such a record needs "
        "the keys only; redshift.deletes says what it does. Default: none is.",
    )
    rules: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=2048)]],
        Field(max_length=200),
    ] = Field(default_factory=list, description="Data quality rules in DQDL.")
    evolution: Evolution = Field(
        default_factory=Evolution, description="What happens when the source's shape changes."
    )


class DataSchemaStatus(Status):
    """Observed state of a DataSchema."""

    users: Annotated[int, Field(ge=0)] | None = Field(
        None, description="DataSources that refer to it."
    )
    used_by: Annotated[list[ObjectName], Field(max_length=20)] = Field(
        default_factory=list,
        description="Names of the first of them.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class DataSchema(CustomResource):
    """A schema shared by sources."""

    kind: Literal["DataSchema"] = "DataSchema"
    spec: SchemaSpec
    status: DataSchemaStatus = Field(default_factory=DataSchemaStatus)
