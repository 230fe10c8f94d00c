"""What a Pipeline wants on AWS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.schema import DataSchema
from weir.blueprint import config, machines, naming, network, pieces, policies, tables
from weir.blueprint.columns import after_stages, catalog_columns
from weir.blueprint.facts import PlatformFacts
from weir.blueprint.grants import NamespaceGrant
from weir.resource import Deletion, Resource
from weir_contract.pipelines import PipelineConfig
from weir_contract.rows import RowContract
from weir_contract.state import PK, SK, source_pk, subscriber_sk

CONTROL_TIMEOUT_SECONDS = 300
CONTROL_MEMORY_MB = 512
CONCURRENT_JOBS = 3
"""The live pass and, beside it, passes of a backfill."""


def names_of(pipeline: Pipeline, facts: PlatformFacts) -> pieces.Naming:
    """Physical names of a pipeline's resources."""
    return pieces.Naming(facts.cluster, "Pipeline", pipeline.namespace, pipeline.name)


def pipeline_machine_arn(pipeline: Pipeline, facts: PlatformFacts) -> str:
    """The ARN of the pipeline's state machine."""
    return facts.machine_arn(names_of(pipeline, facts)("machine", "pipeline"))


def runs_prefix(pipeline: Pipeline) -> str:
    """Where plans, results and load manifests of the pipeline's runs stand, in artifacts."""
    return f"runs/{pipeline.id}/"


def pipeline_resources(
    pipeline: Pipeline,
    facts: PlatformFacts,
    grant: NamespaceGrant,
    sources: Mapping[str, DataSource],
    schemas: Mapping[str, DataSchema],
) -> tuple[Resource, ...]:
    """Every AWS resource of a pipeline.

    Parameters
    ----------
    grant
        What its namespace may do: scripts run only where they are granted.
    sources, schemas
        DataSources and DataSchemas of the namespace by name; at least those that the pipeline and
        its sources name.

    Raises
    ------
    KeyError
        A source or schema is missing; the check says so in words.
    ValueError
        It loads into a warehouse that the Platform does not have.
    """
    spec, names = pipeline.spec, names_of(pipeline, facts)
    plan = config.pipeline_config(pipeline, facts, grant, sources, schemas)
    first = sources[config.primary_names(pipeline)[0]]
    contract = config.row_contract(first, schemas)
    stored = pieces.config_object(
        facts, "config", f"config/{pipeline.namespace}/pipeline/{pipeline.name}", plan
    )
    config_key = pieces.object_key(stored)
    hears = pieces.notified(facts, names, spec.notifications)
    topics = sorted({arn for arns in hears.arns.values() for arn in arns})
    source_ids = [item.source for item in plan.inputs]
    machine, job = names("machine", "pipeline"), names("job", "process")
    warehouse = config.uses_warehouse(pipeline)
    control = _function(
        facts,
        names,
        "control",
        "run_control",
        stored,
        policies.run_control(
            facts,
            pipeline=pipeline.id,
            sources=source_ids,
            function=names("function", "control"),
            config_key=config_key,
            runs_prefix=runs_prefix(pipeline),
        ),
        f"Weir: controls the runs of {pipeline.id}",
    )
    loader: tuple[Resource, ...] = ()
    if warehouse:
        loader = _function(
            facts,
            names,
            "loader",
            "redshift_loader",
            stored,
            policies.loader(
                facts,
                pipeline=pipeline.id,
                sources=source_ids,
                function=names("function", "loader"),
                config_key=config_key,
                runs_prefix=runs_prefix(pipeline),
            ),
            f"Weir: writes the SQL of {pipeline.id}",
            _database_tags(facts, pipeline.namespace),
        )
    functions = [facts.function_arn(names("function", "control"))]
    functions += [facts.function_arn(names("function", "loader"))] if warehouse else []
    machine_role = pieces.role(
        facts,
        "machine-role",
        names("role", "pipeline"),
        trust=policies.trust(facts, "states", facts.machine_arn(machine)),
        policy=policies.machine(
            facts,
            functions=functions,
            topics=topics,
            job=job,
            itself=machine,
            namespace=pipeline.namespace if warehouse else None,
        ),
        description=f"Weir: orchestrates {pipeline.id}",
        tags=_database_tags(facts, pipeline.namespace) if warehouse else None,
    )
    parts = machines.PipelineParts(
        pipeline=pipeline.id,
        control=functions[0],
        loader=functions[-1],
        machine=facts.machine_arn(machine),
        job=job,
        topics=hears.arns,
        flex=spec.resources.execution == "flex",
        job_seconds=config.seconds(spec.resources.timeout),
        retry_interval=config.seconds(spec.retry.interval),
        retry_attempts=spec.retry.max_attempts,
    )
    states = Resource(
        "states.StateMachine",
        "machine",
        machine,
        {
            "definition": machines.pipeline_machine(facts, parts, plan.stages),
            "roleArn": facts.role_arn(machine_role.name),
            "type": "STANDARD",
        },
        (
            "machine-role",
            "control",
            "process",
            *(["loader"] if warehouse else []),
            *(topic.logical_id for topic in hears.topics),
        ),
    )
    secrets = [
        Resource("secretsmanager.Secret", "pii-key", name, external=True)
        for name in ([plan.pii_key_secret] if plan.pii_key_secret else [])
    ]
    found = (
        *secrets,
        *hears.topics,
        stored,
        *control,
        *loader,
        *_job(facts, pipeline, names, plan, stored),
        *_catalog(
            pipeline,
            plan,
            contract,
            {ref.name: config.row_contract(sources[ref.name], schemas) for ref in spec.sources},
            pieces.data_deletion(first.spec.deletion_policy == "Delete"),
        ),
        *_targets(facts, pipeline, plan, contract, first),
        machine_role,
        states,
        *_subscriptions(facts, pipeline, plan),
        *_timer(facts, pipeline, names),
        *pieces.machine_alarms(
            facts, names, machine, hears.arns["failure"], f"The pipeline {pipeline.id}"
        ),
    )
    inside = None if spec.resources.network is None else spec.resources.network == "vpc"
    return network.placed(facts, found, jobs=inside)


def _database_tags(facts: PlatformFacts, namespace: str) -> dict[str, str] | None:
    """The tag by which a role on Redshift Serverless holds its namespace's database role.

    Redshift Management Guide, *Defining database roles to grant to federated users in Amazon
    Redshift Serverless*.
    """
    if facts.warehouse is None or not facts.warehouse.serverless:
        return None
    return {"RedshiftDbRoles": naming.database_role(namespace)}


def _function(
    facts: PlatformFacts,
    names: pieces.Naming,
    logical_id: str,
    handler: str,
    stored: Resource,
    policy: policies.Document,
    description: str,
    tags: Mapping[str, str] | None = None,
) -> tuple[Resource, ...]:
    role = pieces.role(
        facts,
        f"{logical_id}-role",
        names("role", logical_id),
        trust=policies.trust(facts, "lambda"),
        policy=policy,
        description=description,
        tags=tags,
    )
    code = pieces.function(
        facts,
        logical_id,
        names("function", logical_id),
        handler=handler,
        role_name=role.name,
        role_id=role.logical_id,
        environment={"WEIR_CONFIG": stored.name},
        timeout=CONTROL_TIMEOUT_SECONDS,
        memory=CONTROL_MEMORY_MB,
        depends_on=(stored.logical_id,),
    )
    return (role, *code)


def _job(
    facts: PlatformFacts,
    pipeline: Pipeline,
    names: pieces.Naming,
    plan: PipelineConfig,
    stored: Resource,
) -> tuple[Resource, Resource]:
    outputs = [plan.processed, *(stage.write for stage in plan.stages if stage.write)]
    zones = {bucket: zone for zone, bucket in facts.buckets.items()}
    role = pieces.role(
        facts,
        "process-role",
        names("role", "process"),
        trust=policies.trust(facts, "glue", facts.arn("glue", "*")),
        policy=policies.glue_job(
            facts,
            pipeline=pipeline.id,
            sources=[item.source for item in plan.inputs],
            config_key=pieces.object_key(stored),
            runs_prefix=runs_prefix(pipeline),
            writes=[(zones[item.bucket], item.prefix) for item in outputs],
            tables=[item.glue_table for item in outputs if item.glue_table and not item.iceberg],
            iceberg=plan.processed.glue_table if plan.processed.iceberg else None,
            scripts=plan.allow_scripts,
            script_files=[
                step.script.uri.removeprefix("s3://")
                for stage in pipeline.spec.stages
                for step in stage.transform or ()
                if plan.allow_scripts and step.script and step.script.uri
            ],
            pii_secret=plan.pii_key_secret,
        ),
        description=f"Weir: processes the rows of {pipeline.id}",
    )
    script, library = facts.artifacts["glueScript"], facts.artifacts["glue"]
    resources = pipeline.spec.resources
    job = Resource(
        "glue.Job",
        "process",
        names("job", "process"),
        {
            "Description": f"Weir: processes the rows of {pipeline.id}",
            "Role": facts.role_arn(role.name),
            "Command": {"Name": "glueetl", "ScriptLocation": script.uri, "PythonVersion": "3"},
            "GlueVersion": "5.0",
            "DefaultArguments": {
                "--WEIR_CONFIG": stored.name,
                "--extra-py-files": library.uri,
                "--job-language": "python",
                "--job-bookmark-option": "job-bookmark-disable",
                "--enable-continuous-cloudwatch-log": "true",
                **(iceberg_arguments(plan.processed.location) if plan.processed.iceberg else {}),
            },
            "WorkerType": resources.worker_type,
            "NumberOfWorkers": resources.min,
            "Timeout": pieces.minutes(config.seconds(resources.timeout)),
            "MaxRetries": 0,
            "ExecutionProperty": {"MaxConcurrentRuns": CONCURRENT_JOBS},
            "ExecutionClass": resources.execution.upper(),
        },
        (role.logical_id, stored.logical_id),
    )
    return role, job


def iceberg_arguments(location: str) -> dict[str, str]:
    """The job's arguments that give Spark Iceberg and the Glue catalog.

    AWS Glue Developer Guide, *Using the Iceberg framework in AWS Glue*. Each commit asks the
    catalog for the table as it is: a copy in memory would not show what another job has committed.
    """
    catalog = "spark.sql.catalog.glue_catalog"
    settings = {
        "spark.sql.extensions": (
            "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
        ),
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.catalog-impl": "org.apache.iceberg.aws.glue.GlueCatalog",
        f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{catalog}.warehouse": location,
        f"{catalog}.cache-enabled": "false",
    }
    conf = " --conf ".join(f"{name}={value}" for name, value in settings.items())
    return {"--datalake-formats": "iceberg", "--conf": conf}


def _catalog(
    pipeline: Pipeline,
    plan: PipelineConfig,
    contract: RowContract,
    others: Mapping[str, RowContract],
    deletion: Deletion,
) -> tuple[Resource, ...]:
    """The processed table, and one for each write stage, with the columns that reach it.

    ``deletion`` is for an Iceberg table: without its entry nobody finds the table's newest state,
    while Parquet's is made anew over the files that are there.
    """
    stages = pipeline.spec.stages
    targets = []
    if plan.processed.iceberg is None:
        columns = catalog_columns(stages, contract, others)
        targets.append(("table-processed", plan.processed, columns))
    for index, stage in enumerate(plan.stages):
        if stage.write:
            columns = catalog_columns(stages[:index], contract, others)
            targets.append((f"table-{stage.name}", stage.write, columns))
    found = [
        tables.catalog_table(
            logical_id, plan.glue_database, target, columns, f"Weir: rows of {pipeline.id}"
        )
        for logical_id, target, columns in targets
    ]
    if plan.processed.iceberg is not None:
        found.append(
            tables.iceberg_table("table-processed", plan.glue_database, plan.processed, deletion)
        )
    return tuple(found)


def _targets(
    facts: PlatformFacts,
    pipeline: Pipeline,
    plan: PipelineConfig,
    contract: RowContract,
    source: DataSource,
) -> tuple[Resource, ...]:
    """Targets whose columns are known; the loader creates the others on their first load."""
    warehouse = facts.warehouse
    if source.status.schema_spec is not None:
        # A column without a type yet joins the table when a landing has shown it: else the whole
        # table would no longer be wanted meanwhile.
        contract = replace(contract, fields=tuple(item for item in contract.fields if item.type))
    columns = after_stages(pipeline.spec.stages, contract)
    if warehouse is None or not warehouse.admin_secret_arn or not columns.resolved:
        return ()
    deletion = pieces.data_deletion(source.spec.deletion_policy == "Delete")
    loads = {stage.name: stage.load for stage in plan.stages if stage.load}
    targets = [
        tables.target_table(warehouse, f"target-{name}", load, columns, deletion)
        for name, load in loads.items()
    ]
    targets += [
        tables.tombstones(warehouse, f"tombstones-{name}", load, columns, deletion)
        for name, load in loads.items()
        if load.takes_deletions
    ]
    return tuple(targets)


def _subscriptions(
    facts: PlatformFacts, pipeline: Pipeline, plan: PipelineConfig
) -> tuple[Resource, ...]:
    """Who is told of a manifest. ``onArrival`` false: it is noted, and waits for a run."""
    trigger = pipeline.spec.trigger
    arrival = (trigger is None or trigger.on_arrival is not None) and not pipeline.spec.suspend
    found = []
    for item in plan.inputs:
        if not item.primary:
            continue
        pk, sk = source_pk(item.source), subscriber_sk(pipeline.id)
        values: dict[str, Any] = {
            PK: pk,
            SK: sk,
            "stateMachineArn": pipeline_machine_arn(pipeline, facts),
            "minIntervalSeconds": plan.min_interval_seconds,
            "onArrival": arrival,
        }
        if plan.min_interval_seconds:
            bounds = {"maxWaitSeconds": plan.max_wait_seconds, "maxBytes": plan.max_bytes}
            values |= {name: bound for name, bound in bounds.items() if bound is not None}
        found.append(
            Resource(
                "dynamodb.Item",
                f"subscription-{item.name}",
                f"{facts.state_table}|{pk}|{sk}",
                {"Item": values},
                ("machine",),
                tagged=False,
            )
        )
    return tuple(found)


def _timer(facts: PlatformFacts, pipeline: Pipeline, names: pieces.Naming) -> tuple[Resource, ...]:
    trigger = pipeline.spec.trigger
    if trigger is None or trigger.schedule is None:
        return ()
    return (
        pieces.schedule(
            facts,
            "schedule",
            names("schedule", "pipeline"),
            expression=trigger.schedule.expression,
            timezone=trigger.schedule.timezone,
            target=facts.trigger_arn,
            message={
                "pipeline": pipeline.id,
                "stateMachineArn": pipeline_machine_arn(pipeline, facts),
                "scheduledTime": pieces.SCHEDULED_TIME,
            },
            enabled=not pipeline.spec.suspend,
            depends_on=("machine",),
        ),
    )
