"""Custom resources as the configurations that functions and jobs read (weir_contract)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.api.v1alpha1.datasource import (
    CsvOptions,
    DataSource,
    Destination,
    Email,
    FileOptions,
    Files,
    IcebergOptions,
    RedshiftTarget,
)
from weir.api.v1alpha1.pipeline import Pipeline, Stage
from weir.api.v1alpha1.schema import DataSchema, FieldSpec, SchemaSpec
from weir.blueprint import naming, rest, streams
from weir.blueprint.columns import keys_after
from weir.blueprint.durations import seconds as seconds
from weir.blueprint.facts import PlatformFacts, Watched
from weir.blueprint.grants import NamespaceGrant
from weir.resource import Ref
from weir_contract import pipelines, sources
from weir_contract.rows import DeletionMark, Field, PartitionField, RowContract
from weir_contract.secrets import BUCKET, SecretRef, secret_refs, substitute_buckets

TIME_PARTS = ("year", "month", "day", "hour")
PARTITION = re.compile(
    r"^(year|month|day|hour)\(([A-Za-z_][A-Za-z0-9_$]*)(?:, ?([A-Za-z0-9_/+-]+))?\)$"
)


def schema_of(source: DataSource, schemas: Mapping[str, DataSchema]) -> SchemaSpec | None:
    """The schema that a source states or refers to; None where it is to be inferred.

    Parameters
    ----------
    schemas
        The namespace's DataSchemas by name.

    Raises
    ------
    KeyError
        ``schemaRef`` names none of them.
    """
    if source.spec.schema_ref:
        return schemas[source.spec.schema_ref.name].spec
    return source.spec.schema_spec


def row_contract(source: DataSource, schemas: Mapping[str, DataSchema]) -> RowContract:
    """The contract of a source: what was stated, with what its status has of later: types that were
    inferred, columns that landings added, types that they made wider.

    A column that is stated without a type since then has none, until a landing has shown it.
    """
    schema = schema_of(source, schemas)
    contract = stated(schema) if schema else RowContract()
    frozen = source.status.schema_spec
    if frozen is None or not frozen.fields:
        return contract
    fields = (
        Field(
            name=item.name,
            path=item.path or item.name,
            type=item.type,
            max_length=item.max_length,
            added=item.added,
            widened_from=item.widened_from,
        )
        for item in frozen.fields
    )
    return contract.in_force(RowContract(fields=tuple(fields)))


def stated_contract(source: DataSource, schemas: Mapping[str, DataSchema]) -> RowContract:
    """The contract as it was written, without what was inferred.

    An ingestion function gets this one: what it infers must not change its own configuration.
    """
    schema = schema_of(source, schemas)
    return stated(schema) if schema else RowContract()


def ingested_contract(source: DataSource, schemas: Mapping[str, DataSchema]) -> RowContract:
    """The contract that ingestion gets: where it evolves, with what must not change in the tables.

    Columns by which the source's own table finds, spreads and sorts its rows keep their type, and
    no new column hides a partition. In an Iceberg table no number's scale changes.
    """
    contract = stated_contract(source, schemas)
    if not contract.evolves:
        return contract
    target, place = source.spec.redshift, source.spec.destination
    pinned: list[str] = []
    if target is not None:
        pinned = [
            *(target.keys or ()),
            *sort_columns(target),
            *([target.distkey] if target.distkey else ()),
        ]
    parts = place.partition_by if place is not None else ()
    return replace(
        contract,
        pinned=tuple(dict.fromkeys(pinned)),
        reserved=tuple(dict.fromkeys(partition_field(item).name for item in parts)),
        fixed_scale=is_iceberg(place),
    )


def sort_columns(target: RedshiftTarget) -> tuple[str, ...]:
    """The columns of a target's ``sortkey``."""
    return tuple(part.strip() for part in (target.sortkey or "").split(",") if part.strip())


def stated(schema: SchemaSpec) -> RowContract:
    """A schema as a row contract: the mapping's columns, then those that only ``fields`` has."""
    named = {item.name: item for item in schema.fields}
    columns = [
        _field(named.get(name) or FieldSpec(name=name), path)
        for name, path in schema.mapping.items()
    ]
    columns += [
        _field(item, item.path or item.name)
        for item in schema.fields
        if item.name not in schema.mapping
    ]
    return RowContract(
        fields=tuple(columns),
        keys=tuple(schema.keys),
        rules=tuple(schema.rules),
        on_new_field=schema.evolution.on_new_field,
        on_type_change=schema.evolution.on_type_change,
        discovery="crawler" if schema.discovery == "crawler" else None,
        deletion=DeletionMark(
            schema.deletion.path, tuple(schema.deletion.values), dict(schema.deletion.mapping)
        )
        if schema.deletion
        else None,
    )


def _field(item: FieldSpec, path: str) -> Field:
    return Field(
        name=item.name,
        path=path,
        type=item.type.replace(" ", "") if item.type else None,
        nullable=item.nullable is not False,
        max_length=item.max_length,
        format=item.format,
        timezone=item.timezone,
        on_misfit=item.on_misfit or "quarantine",
        classification=item.classification,
        description=item.description,
    )


def partition_field(text: str) -> PartitionField:
    """One item of ``partitionBy``: ``year`` of the landing, ``country``, ``day(orderedAt, UTC)``."""
    if text in TIME_PARTS:
        return PartitionField(name=text, transform=text)  # type: ignore[arg-type]
    match = PARTITION.match(text)
    if not match:
        return PartitionField(name=text, field=text)
    part, column, zone = match.groups()
    return PartitionField(f"{column}_{part}", column, part, zone or "UTC")  # type: ignore[arg-type]


def bucket_name(text: str, facts: PlatformFacts) -> str:
    """A bucket as a spec names it, with ``${BUCKET:zone}`` put in."""
    return substitute_buckets(text, dict(facts.buckets))


def bucket_zone(text: str, facts: PlatformFacts) -> str | None:
    """The zone of a bucket as a spec names it; None for a bucket that is not the Platform's."""
    name = bucket_name(text, facts) if BUCKET.fullmatch(text) else text
    return next((zone for zone, bucket in facts.buckets.items() if bucket == name), None)


def destination(
    spec: Destination | None,
    facts: PlatformFacts,
    fallback: str,
    table: str,
    like: pipelines.Load,
) -> pipelines.Destination:
    """Where processed rows go.

    Parameters
    ----------
    fallback
        The prefix where the spec has no destination.
    table
        The name in the Glue catalog.
    like
        The load that an Iceberg table follows where its options say nothing else.
    """
    if spec is None:
        return pipelines.Destination(facts.buckets["processed"], fallback, (), "append", table)
    parts = tuple(partition_field(item) for item in spec.partition_by)
    return pipelines.Destination(
        bucket_name(spec.bucket, facts),
        spec.prefix,
        parts,
        "append",
        table,
        iceberg_table(spec.iceberg or IcebergOptions(), like) if is_iceberg(spec) else None,
    )


def is_iceberg(spec: Destination | None) -> bool:
    """Whether a destination is an Iceberg table."""
    return spec is not None and spec.format == "iceberg"


def iceberg_table(options: IcebergOptions, like: pipelines.Load) -> pipelines.IcebergTable:
    """How an Iceberg table takes rows: as its options say, else as a load does.

    Keys make a mode that is not stated a merge, as they do for a load.
    """
    shrink = options.max_shrink_percent
    mode = options.mode or ("merge" if options.keys else like.mode)
    marks = mode == "merge" and (options.deletes or like.deletes) == "soft"
    return pipelines.IcebergTable(
        mode=mode,
        keys=tuple(options.keys or like.keys),
        order_by=options.order_by or like.order_by,
        min_rows=like.min_rows if options.min_rows is None else options.min_rows,
        max_shrink=like.max_shrink if shrink is None else shrink / 100,
        keep_seconds=seconds(options.keep_snapshots),
        deletes="soft" if options.deletes == "soft" or marks else "ignore",
    )


def loaded_contract(pipeline: Pipeline, contract: RowContract) -> RowContract:
    """The source's contract with the keys that tell the pipeline's final rows apart.

    Loads and Iceberg tables that state none take rows by these.
    """
    return replace(contract, keys=keys_after(pipeline.spec.stages, contract.keys))


def load(target: RedshiftTarget, contract: RowContract, incremental: bool) -> pipelines.Load:
    """A load's plan. Mode not stated: merge with keys, append with a cursor, else replace."""
    keys = tuple(target.keys or contract.keys)
    return pipelines.Load(
        schema=target.schema_name,
        table=target.table,
        mode=target.mode or ("merge" if keys else "append" if incremental else "replace"),
        keys=keys,
        order_by=target.order_by,
        deletes=target.deletes,
        tombstone_seconds=seconds(target.tombstone_retention),
        distkey=target.distkey,
        sortkey=sort_columns(target),
        min_rows=target.min_rows,
        max_shrink=target.max_shrink_percent / 100,
    )


def source_secrets(source: DataSource) -> tuple[SecretRef, ...]:
    """Every secret that a source names, in order of their names, each once."""
    api, email = source.spec.source.rest_api, source.spec.source.email
    found = set(rest.secrets(api)) if api else set()
    if email and email.attachments.password_secret:
        found |= set(secret_refs(f"${{SECRET:{email.attachments.password_secret}}}"))
    stream = source.spec.source.stream
    confluent = stream.registry.confluent if stream and stream.registry else None
    if confluent and confluent.secret:
        found |= set(secret_refs(f"${{SECRET:{confluent.secret}}}"))
    return tuple(sorted(found, key=lambda ref: (ref.name, ref.json_key or "")))


def secret_id(name: str, namespace: str, prefix: str) -> str:
    """The Secrets Manager name of ``${SECRET:name}``.

    A plain name stands below the namespace's own prefix; one with a ``/`` is taken as it is, and
    the check sees to it that it is granted.
    """
    return name if "/" in name else f"{prefix}{namespace}/{name}"


def source_config(
    source: DataSource,
    facts: PlatformFacts,
    grant: NamespaceGrant,
    schemas: Mapping[str, DataSchema],
) -> sources.SourceConfig:
    """What the ingestion function of a source reads."""
    found = source.spec.source
    api, files, email = found.rest_api, found.files, found.email
    names = {ref.name for ref in source_secrets(source)}
    if found.stream:
        # Lambda's pollers show them to the brokers, and backfills do.
        names |= set(streams.broker_secrets(found.stream))
    return sources.SourceConfig(
        platform=facts.platform,
        namespace=source.namespace,
        name=source.name,
        raw_bucket=facts.buckets["raw"],
        state_table=facts.state_table,
        contract=ingested_contract(source, schemas),
        metrics_namespace=facts.metrics_namespace,
        kms_key_arn=known(facts.kms_key_arn),
        secrets={
            name: secret_id(name, source.namespace, facts.secrets_prefix) for name in sorted(names)
        },
        egress=grant.egress,
        rest_api=rest.rest_api(api) if api else None,
        quarantine_bucket=facts.buckets["quarantine"],
        files=_files(files) if files else None,
        email=_email(email, *place_of_mails(source, facts)) if email else None,
        stream=streams.contract(found.stream, facts, source.namespace, source.name)
        if found.stream
        else None,
    )


def place_of_mails(source: DataSource, facts: PlatformFacts) -> tuple[str, str]:
    """Bucket and prefix where a source's mails are."""
    email = source.spec.source.email
    assert email is not None
    if email.bucket is not None:
        return email.bucket, email.prefix
    return facts.buckets["raw"], f"{source.id}/{naming.MAIL_FOLDER}/"


def _email(email: Email, bucket: str, prefix: str) -> sources.Email:
    options = email.attachments
    return sources.Email(
        bucket=bucket,
        prefix=prefix,
        recipients=tuple(email.recipients),
        allowed_senders=tuple(email.allowed_senders),
        trust=sources.Trust(**email.trust.model_dump()),
        patterns=tuple(options.patterns),
        inline=options.inline,
        max_bytes=options.max_attachment_bytes,
        password=f"${{SECRET:{options.password_secret}}}" if options.password_secret else None,
        parsing=parsing(options),
        duplicates=options.duplicates,
        workmail=email.workmail.organization_id if email.workmail else None,
    )


def watched(source: DataSource) -> Watched | None:
    """The place of others' that a source watches; None for one that watches none."""
    found = source.spec.source
    if found.files:
        return Watched(found.files.bucket, found.files.prefix, found.files.pattern or "")
    if found.email and found.email.bucket:
        return Watched(found.email.bucket, found.email.prefix)
    return None


def arrivals(source: DataSource, facts: PlatformFacts) -> Watched | None:
    """Where a source's files or mails arrive, in others' buckets or in its own folder."""
    own = has_mail_folder(source)
    return Watched(*place_of_mails(source, facts)) if own else watched(source)


def receives(source: DataSource) -> bool:
    """Whether a receipt rule is made for the source."""
    email = source.spec.source.email
    return email is not None and email.receive is not None


def has_mail_folder(source: DataSource) -> bool:
    """Whether the source's mails come into a folder of its own in the raw zone."""
    email = source.spec.source.email
    return email is not None and email.bucket is None


def _files(files: Files) -> sources.Files:
    return sources.Files(
        files.bucket, files.prefix, files.pattern, parsing(files), files.duplicates
    )


def parsing(options: FileOptions) -> sources.Parsing:
    """How the bytes of a file become records."""
    csv = options.csv or CsvOptions()
    return sources.Parsing(
        format=options.format,
        compression=options.compression,
        csv=sources.CsvDialect(
            **{
                **csv.model_dump(),
                "columns": tuple(csv.columns),
                "null_values": tuple(csv.null_values),
            }
        ),
        record_path=options.record_path,
        columns=tuple(
            sources.FixedColumn(one.name, one.start, one.width) for one in options.columns
        ),
        sheet=options.sheet,
        header_row=options.header_row,
        max_bytes=options.max_bytes,
    )


def known(value: str | Ref) -> str:
    """A value that must be known by now: a configuration's text can't hold a reference.

    Raises
    ------
    ValueError
        It is a reference still.
    """
    if isinstance(value, Ref):
        raise ValueError(
            f"{value.logical_id}.{value.attribute} is not known yet: is the Platform ready?"
        )
    return value


def primary_names(pipeline: Pipeline) -> tuple[str, ...]:
    """The sources whose manifests drive the runs: those that say so, else the first."""
    stated = tuple(ref.name for ref in pipeline.spec.sources if ref.primary)
    return stated or (pipeline.spec.sources[0].name,)


def pipeline_config(
    pipeline: Pipeline,
    facts: PlatformFacts,
    grant: NamespaceGrant,
    sources_by_name: Mapping[str, DataSource],
    schemas: Mapping[str, DataSchema],
) -> pipelines.PipelineConfig:
    """What the functions and the Glue job of a pipeline read.

    Raises
    ------
    KeyError
        A source of the pipeline is not in ``sources_by_name``.
    """
    spec, namespace = pipeline.spec, pipeline.namespace
    primaries = primary_names(pipeline)
    first = sources_by_name[primaries[0]]
    contract = loaded_contract(pipeline, row_contract(first, schemas))
    incremental = is_incremental(first)
    arrival = spec.trigger.on_arrival if spec.trigger else None
    resources = spec.resources
    return pipelines.PipelineConfig(
        platform=facts.platform,
        namespace=namespace,
        name=pipeline.name,
        inputs=tuple(
            pipelines.Input(
                name=ref.name,
                source=f"{namespace}/{ref.name}",
                contract=stated_contract(sources_by_name[ref.name], schemas),
                primary=ref.name in primaries,
            )
            for ref in spec.sources
        ),
        stages=tuple(
            _stage(stage, pipeline, facts, contract, incremental) for stage in spec.stages
        ),
        processed=processed(pipeline, facts, sources_by_name, contract),
        raw_bucket=facts.buckets["raw"],
        quarantine_bucket=facts.buckets["quarantine"],
        artifacts_bucket=facts.buckets["artifacts"],
        state_table=facts.state_table,
        glue_database=naming.catalog_database(facts.cluster, namespace),
        region=facts.region,
        metrics_namespace=facts.metrics_namespace,
        warehouse=_warehouse(facts, namespace) if uses_warehouse(pipeline) else None,
        workers=pipelines.Workers(
            resources.worker_type, resources.min, max(resources.min, resources.max)
        ),
        kms_key_arn=known(facts.kms_key_arn),
        pii_key_secret=pii_secret(pipeline, facts),
        allow_scripts="scripts" in grant.allow and uses_scripts(pipeline),
        topics={name: arns[0] for name, arns in sorted(facts.topics.items()) if arns},
        min_interval_seconds=seconds(arrival.min_interval) if arrival else 0,
        max_wait_seconds=seconds(arrival.max_wait) if arrival and arrival.max_wait else None,
        max_bytes=arrival.max_bytes if arrival else None,
    )


def processed(
    pipeline: Pipeline,
    facts: PlatformFacts,
    sources_by_name: Mapping[str, DataSource],
    contract: RowContract,
) -> pipelines.Destination:
    """Where the pipeline's processed rows go: its own destination, else its source's."""
    first = sources_by_name[primary_names(pipeline)[0]]
    spec = pipeline.spec.destination or first.spec.destination
    like = first_load(pipeline, contract, is_incremental(first))
    return destination(spec, facts, f"{pipeline.id}/", naming.catalog_table(pipeline.name), like)


def first_load(pipeline: Pipeline, contract: RowContract, incremental: bool) -> pipelines.Load:
    """The pipeline's first load; where it has none, what one that states nothing would be."""
    targets = [stage.load.redshift for stage in pipeline.spec.stages if stage.load]
    return load_like(targets[0] if targets else None, contract, incremental)


def load_like(
    target: RedshiftTarget | None, contract: RowContract, incremental: bool
) -> pipelines.Load:
    """A target's load; without one, what one that states nothing would be."""
    unstated = RedshiftTarget(schema_name="none", table="none")
    return load(target or unstated, contract, incremental)


def is_incremental(source: DataSource) -> bool:
    """Whether a landing holds what is new, rather than all that the source has."""
    api = source.spec.source.rest_api
    return bool(api and api.incremental) or source.spec.source.stream is not None


def uses_warehouse(pipeline: Pipeline) -> bool:
    """Whether a stage loads into or unloads from Redshift."""
    return any(stage.load or stage.unload for stage in pipeline.spec.stages)


def uses_scripts(pipeline: Pipeline) -> bool:
    """Whether a step runs Python of the user's own."""
    return any(step.script for stage in pipeline.spec.stages for step in stage.transform or ())


def pii_secret(pipeline: Pipeline, facts: PlatformFacts) -> str | None:
    """The secret that holds the key of keyed hashes, where a stage hashes or tokenises."""
    actions = {
        item.action for stage in pipeline.spec.stages if stage.clean for item in stage.clean.pii
    }
    if not actions & {"hash", "tokenise"}:
        return None
    return f"{facts.secrets_prefix}{pipeline.namespace}/pii-key"


def _warehouse(facts: PlatformFacts, namespace: str) -> pipelines.Warehouse:
    warehouse = facts.warehouse
    if warehouse is None:
        raise ValueError(f"Platform {facts.platform} has no Redshift")
    return pipelines.Warehouse(
        database=warehouse.database,
        workgroup=warehouse.name if warehouse.serverless else None,
        cluster=None if warehouse.serverless else warehouse.name,
        db_user=None if warehouse.serverless else naming.loader_user(namespace),
        copy_role_arn=warehouse.copy_role_arn,
    )


def _stage(
    stage: Stage,
    pipeline: Pipeline,
    facts: PlatformFacts,
    contract: RowContract,
    incremental: bool,
) -> pipelines.Stage:
    if stage.load:
        plan = load(stage.load.redshift, contract, incremental)
        return pipelines.Stage(stage.name, "load", load=plan)
    if stage.unload:
        bucket, _, prefix = bucket_name(stage.unload.to, facts).removeprefix("s3://").partition("/")
        unload = pipelines.Unload(stage.unload.query, bucket, prefix, stage.unload.format)
        return pipelines.Stage(stage.name, "unload", unload=unload)
    if stage.write:
        target = pipelines.Destination(
            facts.buckets[stage.write.zone],
            stage.write.prefix,
            tuple(partition_field(item) for item in stage.write.partition_by),
            stage.write.mode,
            naming.catalog_table(pipeline.name, stage.name),
        )
        return pipelines.Stage(stage.name, "write", write=target)
    if stage.transform is not None:
        return pipelines.Stage(stage.name, "transform", {"steps": _dump(stage.transform)})
    if stage.validate_ is not None:
        return pipelines.Stage(stage.name, "validate", _plain(stage.validate_))
    return pipelines.Stage(stage.name, "clean", _plain(stage.clean))


def _plain(model: Any) -> dict[str, Any]:
    return dict(model.model_dump(by_alias=True, exclude_none=True))


def _dump(models: Sequence[Any]) -> list[dict[str, Any]]:
    return [_plain(model) for model in models]
