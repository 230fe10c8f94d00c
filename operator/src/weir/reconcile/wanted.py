"""What an object wants on AWS: the blueprint, given all that the cluster and the Platform know."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.platform import Platform
from weir.blueprint import check, config, datasource, naming, pipeline, platform
from weir.blueprint.facts import PlatformFacts
from weir.blueprint.grants import NamespaceGrant, namespace_grant
from weir.blueprint.uses import NamespaceUse, ObjectUse, by_namespace, use_of
from weir.kube.client import Object
from weir.reconcile.apply import CONFLICTING, EXTERNAL, READY, SETTLING, Entry
from weir.reconcile.look import Halt
from weir.reconcile.services import Services
from weir.reconcile.steps import Wanted, owner_of, platform_entries
from weir.reconcile.view import View, parse
from weir.resource import Owner, Resource

USABLE = frozenset({READY, SETTLING, EXTERNAL})
OF_NAMESPACES = ("database-", "dashboard-", "schema-", "ledger", "mails-rule", "rule-set")
"""Prefixes of a Platform's logical ids that belong to single namespaces, to the warehouse or to
sources of one kind."""

seconds = config.seconds
child_of = datasource.managed_pipeline
primaries_of = config.primary_names


@dataclass(frozen=True)
class Context:
    """All that is known around an object of a namespace on a Platform."""

    cluster: str
    platform: Platform
    facts: PlatformFacts
    grant: NamespaceGrant
    view: View
    entries: Mapping[str, Entry]
    labels_of: Callable[[str], Mapping[str, str]]


@lru_cache(maxsize=4)
def artifact_index(folder: str) -> dict[str, dict[str, str]]:
    """The build's index of code artifacts.

    Raises
    ------
    Halt
        It is not there: the operator was installed without its artifacts.
    """
    path = Path(folder) / "artifacts.json"
    try:
        return dict(json.loads(path.read_text()))
    except OSError as error:
        raise Halt(
            "NoArtifacts",
            f"{path} can't be read ({error.strerror}): the operator was started without the code of "
            "its functions; set WEIR_ARTIFACTS to the folder that the build wrote",
            stalled=True,
        ) from error


def context_of(
    services: Services, view: View, found: Platform, obj: Object, namespace: str
) -> Context:
    """The context of an object.

    Parameters
    ----------
    obj
        The Platform's object, whose status says what AWS gave it.
    namespace
        Empty for the Platform itself.

    Raises
    ------
    Halt
        The namespace is not granted the Platform, or the Platform is not as far yet.
    """
    seen = bool(namespace)
    entries, facts = view.of_sight(
        obj, ("facts", seen, services.options), partial(_facts, services, found, obj, seen)
    )
    labels_of = labels_for(services, found)
    grant = namespace_grant(found, namespace, labels_of(namespace) if namespace else {})
    if namespace and not grant.granted:
        raise Halt(
            "NotGranted",
            f"Platform {found.name} is not granted to namespace {namespace}: ask its owner for a "
            "grant (spec.grants)",
            stalled=True,
        )
    return Context(services.options.cluster, found, facts, grant, view, entries, labels_of)


def _facts(
    services: Services, found: Platform, obj: Object, seen: bool
) -> tuple[Mapping[str, Entry], PlatformFacts]:
    """A Platform's resources, and what follows from it; ``seen`` takes what AWS gave it as known."""
    options = services.options
    entries = platform_entries(obj)
    observed = {(one.id, "arn"): one.arn for one in entries.values() if one.arn}
    facts = platform.platform_facts(
        found,
        cluster=options.cluster,
        artifact_index=artifact_index(options.artifacts),
        artifact_folder=options.artifacts,
        observed=observed if seen else None,
        architecture=options.architecture,
        runtime=options.runtime,
    )
    return entries, facts


def labels_for(services: Services, found: Platform) -> Callable[[str], Mapping[str, str]]:
    """Gives a namespace's labels, which are asked for only where a grant goes by labels."""
    selects = any(grant.namespaces.match_labels for grant in found.spec.grants)

    def labels_of(name: str) -> Mapping[str, str]:
        return services.kube.namespace_labels(name) if selects else {}

    return labels_of


def need_claims(context: Context, namespace: str, schemas: Iterable[str]) -> None:
    """The Platform's own resources, and those that it holds for the namespace, must be there.

    Raises
    ------
    Halt
        They are not yet, or a schema is another namespace's.
    """
    schemas = [schema.lower() for schema in schemas]
    _need_schemas(context, namespace, schemas)
    needed = [name for name in context.entries if not name.startswith(OF_NAMESPACES)]
    needed.append(f"database-{namespace}")
    needed += context.facts.network.made if context.facts.network else ()
    warehouse = context.facts.warehouse
    if warehouse is not None and warehouse.admin_secret_arn:
        needed += [schema_id(schema) for schema in schemas]
    missing = [
        name
        for name in needed
        if name not in context.entries or context.entries[name].state not in USABLE
    ]
    _refuse_foreign(context, namespace, schemas)
    if missing:
        raise Halt(
            "WaitingForPlatform",
            f"waits until Platform {context.platform.name} has {', '.join(missing[:5])}",
        )


def _refuse_foreign(context: Context, namespace: str, schemas: Sequence[str]) -> None:
    """A schema that was there before Weir is used by who may adopt it, or was handed it by name."""
    for schema in schemas:
        entry = context.entries.get(schema_id(schema))
        if entry is not None and entry.state == CONFLICTING:
            raise Halt(
                "Conflict",
                f"schema {schema} was there before Weir, and nothing says that namespace {namespace} "
                f"may have it: ask the owner of Platform {context.platform.name} to grant it by its "
                "name (grants[].redshift.schemas), or to allow adopt for it (grants[].allow, "
                "adoptNames); or load into another schema",
                stalled=True,
            )


def schema_id(schema: str) -> str:
    """The logical id of a schema of the warehouse."""
    return f"schema-{naming.short_hash(schema.lower())}"


def schema_users(context: Context) -> dict[str, set[str]]:
    """Schema -> the namespaces that may take it over if it was there before."""
    found: dict[str, set[str]] = {}
    for use in uses_of(context):
        labels = context.labels_of(use.namespace)
        grant = namespace_grant(context.platform, use.namespace, labels)
        for schema in use.schemas:
            allowed = found.setdefault(schema, set())
            if grant.may_adopt(schema) or grant.was_handed(schema):
                allowed.add(use.namespace)
    return found


def _need_schemas(context: Context, namespace: str, schemas: Sequence[str]) -> None:
    """A schema that another namespace claimed first is that one's, unless a grant names it."""
    if not schemas or context.grant.schemas is not None:
        return
    claimed = _claimed_schemas(context)
    if not any(claimed.get(schema, set()) - {namespace} for schema in schemas):
        return
    mine = next((use.schemas for use in uses_of(context) if use.namespace == namespace), ())
    for schema in schemas:
        if schema not in mine:
            raise Halt(
                "Conflict",
                f"schema {schema} belongs to another namespace, which claimed it first: load into "
                "another, or ask the Platform's owner to grant it by name "
                "(grants[].redshift.schemas)",
                stalled=True,
            )


def _claimed_schemas(context: Context) -> Mapping[str, set[str]]:
    """Schema -> the namespaces whose objects name it."""

    def compute() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for user in context.view.users(context.platform.name):
            for schema in _schemas_of(user):
                found.setdefault(schema, set()).add(user["metadata"]["namespace"])
        return found

    claimed: Mapping[str, set[str]] = context.view.memo(
        f"schemas on {context.platform.name}", compute
    )
    return claimed


def _schemas_of(obj: Object) -> Iterable[str]:
    targets = [obj["spec"].get("redshift")]
    targets += [(one.get("load") or {}).get("redshift") for one in obj["spec"].get("stages") or ()]
    return {str(target["schema"]).lower() for target in targets if target}


def source_wanted(context: Context, source: DataSource, obj: Object) -> Wanted:
    """What a DataSource wants."""
    namespace = source.namespace
    schemas = context.view.schemas(namespace)
    target = source.spec.redshift
    reference = source.spec.schema_ref
    if reference is not None and reference.name not in schemas:
        raise Halt(
            "SchemaNotFound",
            f"there is no DataSchema {reference.name} in namespace {namespace}: create it, or correct "
            "spec.schemaRef",
        )
    known = check.Known(namespace, schemas, {source.name: source}, context.facts, context.grant)
    _refuse(check.datasource_problems(source, known))
    need_claims(context, namespace, [target.schema_name] if target else [])
    resources = _drawn(
        lambda: datasource.datasource_resources(source, context.facts, context.grant, schemas)
    )
    return _wanted(context, obj, resources)


def pipeline_wanted(
    context: Context, found: Pipeline, sources: Mapping[str, DataSource], obj: Object
) -> Wanted:
    """What a Pipeline wants."""
    targets = [stage.load.redshift for stage in found.spec.stages if stage.load]
    schemas = context.view.schemas(found.namespace)
    known = check.Known(found.namespace, schemas, sources, context.facts, context.grant)
    _refuse(check.pipeline_problems(found, known))
    need_claims(context, found.namespace, [target.schema_name for target in targets])
    resources = _drawn(
        lambda: pipeline.pipeline_resources(found, context.facts, context.grant, sources, schemas)
    )
    return _wanted(context, obj, resources)


def platform_wanted(
    context: Context,
    obj: Object,
    barred: Collection[str] = frozenset(),
    served: Collection[str] = frozenset(),
) -> Wanted:
    """What a Platform wants, for itself and for those that use it.

    Parameters
    ----------
    barred
        Schemas of the warehouse that are somebody else's.
    served
        Services for which somebody else's endpoint is in the VPC.
    """
    uses = tuple(
        replace(use, schemas=tuple(one for one in use.schemas if one not in barred))
        for use in uses_of(context)
    )
    resources = _drawn(
        lambda: platform.platform_resources(context.platform, context.facts, uses, served)
    )
    return _wanted(context, obj, resources)


def manual_sql(context: Context) -> Sequence[str]:
    """What an administrator of the warehouse runs by hand, where no admin secret is named."""
    return platform.manual_sql(context.facts, uses_of(context))


def uses_of(context: Context) -> tuple[NamespaceUse, ...]:
    """What the namespaces that are granted the Platform claim of it."""
    found = context.platform
    objects: list[ObjectUse] = []
    grants: dict[str, NamespaceGrant] = {}
    for user in context.view.users(found.name):
        namespace = user["metadata"]["namespace"]
        if namespace not in grants:
            grants[namespace] = namespace_grant(found, namespace, context.labels_of(namespace))
        if grants[namespace].granted:
            objects.append(context.view.of_spec(user, _use_of))
    return by_namespace(objects, grants)


def _use_of(obj: Object) -> ObjectUse:
    if obj["kind"] == "DataSource":
        return use_of(parse(DataSource, obj))
    return use_of(parse(Pipeline, obj))


def known_resources(
    services: Services, view: View, found: Platform, obj: Object
) -> Sequence[Resource]:
    """What an object that is being deleted would want: it says what holds data.

    Empty where that can't be told any more.
    """
    namespace = obj["metadata"].get("namespace", "")
    platform_obj = view.platform(found.name)
    assert platform_obj is not None
    try:
        context = context_of(services, view, found, platform_obj[1], namespace)
        if obj["kind"] == "Platform":
            return platform_wanted(context, obj).resources
        if obj["kind"] == "DataSource":
            return source_wanted(context, parse(DataSource, obj), obj).resources
        model = parse(Pipeline, obj)
        sources = view.sources(namespace, source_names(model))
        return pipeline_wanted(context, model, sources, obj).resources
    except Halt:
        return ()


def source_names(found: Pipeline) -> list[str]:
    """The DataSources that a Pipeline names."""
    return [ref.name for ref in found.spec.sources]


def ingest_machine(context: Context, source: DataSource) -> str:
    """The ARN of the state machine that lands a source."""
    return datasource.ingest_machine_arn(source, context.facts)


def needs_asking(found: Pipeline) -> bool:
    """Whether landed data does not start the pipeline by itself."""
    trigger = found.spec.trigger
    return trigger is not None and trigger.on_arrival is None


LINKS = {
    "states.StateMachine": (
        "stateMachine",
        "states/home?region={region}#/statemachines/view/{arn}",
    ),
    "lambda.Function": ("function", "lambda/home?region={region}#/functions/{name}"),
    "glue.Job": ("job", "gluestudio/home?region={region}#/editor/job/{name}/runs"),
    "cloudwatch.Dashboard": (
        "dashboard",
        "cloudwatch/home?region={region}#dashboards/dashboard/{name}",
    ),
}
"""Kind -> name in ``status.links``, and where the console shows it."""


def links(context: Context, resources: Sequence[Resource]) -> dict[str, str]:
    """AWS console pages of an object: the first resource of each kind that has one."""
    facts = context.facts
    domain = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}.get(
        facts.partition, "console.aws.amazon.com"
    )
    found: dict[str, str] = {}
    for resource in resources:
        if resource.kind not in LINKS:
            continue
        title, page = LINKS[resource.kind]
        arn = facts.machine_arn(resource.name)
        path = page.format(region=facts.region, name=resource.name, arn=arn)
        found.setdefault(title, f"https://{facts.region}.{domain}/{path}")
    return found


def _wanted(context: Context, obj: Object, resources: Sequence[Resource]) -> Wanted:
    owner: Owner = owner_of(context.cluster, obj)
    return Wanted(owner, resources, {**context.facts.tags, **owner.tags})


def _refuse(problems: Sequence[check.Problem]) -> None:
    """Say what the checks found, and build nothing."""
    if problems:
        raise Halt(problems[0].reason, "; ".join(map(str, problems[:5])), stalled=True)


def _drawn(draw: Callable[[], Sequence[Resource]]) -> Sequence[Resource]:
    """A blueprint's resources; what it can't draw is said on the object."""
    try:
        return tuple(draw())
    except (KeyError, ValueError) as error:
        text = error.args[0] if error.args else error
        raise Halt("Invalid", f"the spec can't be built: {text}", stalled=True) from error
