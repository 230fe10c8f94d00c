"""What is wrong with an object that the API server could not see?

CEL bounds single objects within a budget; these checks fold cases, follow columns through stages and
look at the Platform's grants. ``weir validate`` runs the same ones offline, without a Platform.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from weir.api.v1alpha1.common import ADOPT, Notifications
from weir.api.v1alpha1.datasource import DataSource, Destination, IcebergOptions, RedshiftTarget
from weir.api.v1alpha1.pipeline import Clean, Pipeline, Stage, TransformStep
from weir.api.v1alpha1.schema import DataSchema
from weir.api.v1alpha1.stream import Kafka, Registry, Stream
from weir.blueprint import config, deletions, icebergfaults, rest, streamfaults, workmail
from weir.blueprint.columns import after_stage, after_stages, after_step
from weir.blueprint.facts import EVENT_CLASSES, PlatformFacts
from weir.blueprint.grants import NamespaceGrant
from weir.blueprint.pieces import targets_of
from weir.blueprint.schedules import schedule_fault, timezone_fault
from weir.blueprint.tables import is_reserved
from weir_contract.codec import ContractError
from weir_contract.compile import DELETED_AT, IDENTIFIER, SYSTEM_COLUMNS
from weir_contract.dqdl import parse_rule
from weir_contract.expressions import check_expression, check_query
from weir_contract.ledger import LEDGER_SCHEMA
from weir_contract.rows import ColumnType, RowContract
from weir_contract.secrets import BUCKET, SECRET, malformed_refs, secret_refs

TIME_TYPES = ("date", "timestamp", "timestamptz")
OUTPUT_ZONES = ("processed", "curated")
SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]*")
"""A folder of a prefix. Prefixes stand in IAM policies, where ``*``, ``?`` and ``${`` are patterns;
Spark and Athena take folders that begin with ``_`` or ``.`` for hidden, and Weir keeps its own
there."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 within IPv6 (RFC 6052): judged as what is inside."""
METADATA = ipaddress.ip_network("fd00:ec2::/32")
"""Where instances and pods of IPv6 networks get credentials (EC2 user guide, "Instance metadata")."""
PLAIN_ARN = re.compile(r"[A-Za-z0-9:/_.=@+!'() -]+")
"""An ARN that names one thing: it may come to stand in a policy."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    ``reason`` is CamelCase, for a condition; ``path`` is where in the manifest (``spec.redshift.
    distkey``); ``message`` says what is wrong and what to do.
    """

    reason: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class Known:
    """What is known around an object. Without a Platform (offline) its limits are not checked."""

    namespace: str
    schemas: Mapping[str, DataSchema]
    sources: Mapping[str, DataSource]
    facts: PlatformFacts | None = None
    grant: NamespaceGrant | None = None


Problems = Iterator[Problem]


def datasource_problems(source: DataSource, known: Known) -> tuple[Problem, ...]:
    """Everything that is wrong with a DataSource; empty where it may be built."""
    checks: tuple[Callable[[DataSource, Known], Problems], ...] = (
        _schema,
        _references,
        _rest,
        _egress,
        _network,
        _schedule,
        _source_load,
        _source_destination,
        _source_grants,
        _externals,
        lambda found, around: _notifications(found.spec.notifications, around),
    )
    return tuple(problem for check in checks for problem in check(source, known))


def pipeline_problems(pipeline: Pipeline, known: Known) -> tuple[Problem, ...]:
    """Everything that is wrong with a Pipeline; empty where it may be built."""
    missing = tuple(_sources(pipeline, known))
    if missing:
        return missing
    return (
        *_trigger(pipeline),
        *_stages(pipeline, known),
        *_targets(pipeline, known),
        *_job_network(pipeline, known),
        *_adoption(pipeline.annotations, known),
        *_notifications(pipeline.spec.notifications, known),
    )


def schema_problems(schema: DataSchema) -> tuple[Problem, ...]:
    """Everything that is wrong with a DataSchema."""
    return tuple(_contract(config.stated(schema.spec), "spec"))


def _schema(source: DataSource, known: Known) -> Problems:
    reference = source.spec.schema_ref
    if reference and reference.name not in known.schemas:
        yield Problem(
            "UnknownSchema",
            "spec.schemaRef",
            f"there is no DataSchema {reference.name!r} in namespace {known.namespace}; "
            f"create it, or state spec.schema",
        )
        return
    path = f"DataSchema {reference.name}" if reference else "spec.schema"
    contract = config.stated_contract(source, known.schemas)
    yield from _contract(contract, path)
    for reason, _, message in deletions.source_faults(source, contract):
        yield Problem(reason, f"{path}.deletion", message)


def _contract(contract: RowContract, path: str) -> Problems:
    seen: dict[str, str] = {}
    reserved = {name for name, _ in (*SYSTEM_COLUMNS, DELETED_AT)}
    for item in contract.fields:
        folded = item.name.lower()
        if folded in seen:
            yield Problem(
                "DuplicateColumn",
                path,
                f"columns {seen[folded]!r} and {item.name!r} are the same for Redshift and the Glue "
                "catalog, which fold names to lower case; rename one",
            )
        seen[folded] = item.name
        if folded in reserved:
            yield Problem(
                "ReservedColumn", path, f"{item.name!r} is a column of Weir's own; rename it"
            )
        try:
            kind = ColumnType.parse(item.type) if item.type else None
        except ContractError as error:
            yield Problem("InvalidType", path, f"column {item.name}: {error}")
            continue
        if item.timezone and (fault := timezone_fault(item.timezone)):
            yield Problem("InvalidTimezone", path, f"column {item.name}: {fault}")
        if item.max_length and kind and kind.name != "string":
            yield Problem(
                "InvalidType", path, f"column {item.name}: maxLength is for strings, not for {kind}"
            )
    for key in contract.keys:
        yield from _column("key", key, contract, f"{path}.keys")
    for reason, field, message in deletions.mark_faults(contract):
        yield Problem(reason, f"{path}{field}", message)
    yield from _rules(contract.rules, f"{path}.rules")


def _rules(rules: Iterable[str], path: str) -> Problems:
    for index, rule in enumerate(rules):
        try:
            parse_rule(rule)
        except ContractError as error:
            yield Problem("InvalidRule", f"{path}[{index}]", str(error))


def _column(
    role: str, name: str, contract: RowContract, path: str, orders: bool = False
) -> Problems:
    """A named column must be one of the contract's; ``orders``: and be comparable."""
    if not contract.fields:
        return
    found = next((item for item in contract.fields if item.name.lower() == name.lower()), None)
    if found is None:
        names = ", ".join(item.name for item in contract.fields)
        yield Problem(
            "UnknownColumn",
            path,
            f"{role} {name!r} is no column that the mapping produces; there are {names}",
        )
    elif orders and found.type in ("json", "binary"):
        yield Problem(
            "InvalidKeyColumn",
            path,
            f"{role} {name!r} is of type {found.type}, which Redshift can't distribute, sort or "
            "compare by; choose another column",
        )


def _references(source: DataSource, known: Known) -> Problems:
    api = source.spec.source.rest_api
    if api is None:
        return
    for where, url in rest.urls(api):
        if "${" in url:
            yield Problem(
                "MalformedReference",
                where,
                "references stand in auth, headers, params and bodies only; write the URL out",
            )
    for where, text in rest.texts(api):
        for found in malformed_refs(text):
            yield Problem(
                "MalformedReference",
                where,
                f"{found!r} is no reference; write ${{SECRET:name}} or ${{SECRET:name#jsonKey}}",
            )
        if BUCKET.search(text):
            yield Problem("MalformedReference", where, "a bucket has no place in a request")
        for ref in secret_refs(text):
            yield from _secret(ref.name, where, known)
    refresh = api.auth.oauth2_refresh_token if api.auth else None
    if refresh:
        where = "spec.source.restApi.auth.oauth2RefreshToken.secret"
        yield from _secret(refresh.secret, where, known)
        if refresh.rotate and known.facts and not _own_secret(refresh.secret, known):
            yield Problem(
                "SecretNotGranted",
                where,
                f"with rotate the function writes {refresh.secret!r}, so it must be below "
                f"{known.facts.secrets_prefix}{known.namespace}/",
            )


def _own_secret(name: str, known: Known) -> bool:
    if known.facts is None:
        return True
    own = f"{known.facts.secrets_prefix}{known.namespace}/"
    return config.secret_id(name, known.namespace, known.facts.secrets_prefix).startswith(own)


def _rest(source: DataSource, _known: Known) -> Problems:
    """Paths and placeholders of a REST source."""
    api = source.spec.source.rest_api
    if api is None:
        return
    for fault in rest.faults(api):
        yield Problem(fault.reason, fault.path, fault.message)


def _externals(source: DataSource, known: Known) -> Problems:
    """What a source reads that is not the Platform's: buckets, streams, brokers, their secrets."""
    found, path = source.spec.source, "spec.source"
    if found.email and found.email.attachments.password_secret:
        name = found.email.attachments.password_secret.partition("#")[0]
        yield from _secret(name, f"{path}.email.attachments.passwordSecret", known)
    partition = known.facts.partition if known.facts else "aws"
    if found.files:
        yield from _watched(source, f"{path}.files.bucket", partition, known)
    if found.email and found.email.receive:
        yield from _recipients(found.email.receive.recipients, known)
    elif found.email and found.email.workmail:
        where = f"{path}.email.workmail.organizationId"
        yield from _organization(found.email.workmail.organization_id, where, known)
    elif found.email:
        yield from _watched(source, f"{path}.email.bucket", partition, known)
    if found.stream:
        yield from _stream(found.stream, f"{path}.stream", known)


def _stream(stream: Stream, path: str, known: Known) -> Problems:
    """A stream's shape, and whatever it names that is somebody else's."""
    for fault in streamfaults.faults(stream, path, known.facts.region if known.facts else None):
        yield Problem(fault.reason, fault.path, fault.message)
    if stream.kinesis and stream.kinesis.stream_arn:
        yield from _external(stream.kinesis.stream_arn, f"{path}.kinesis.streamArn", known)
    if stream.registry:
        yield from _registry(stream.registry, f"{path}.registry", known)
    if stream.kafka:
        yield from _kafka(stream.kafka, f"{path}.kafka", known)


def _kafka(kafka: Kafka, path: str, known: Known) -> Problems:
    if kafka.cluster_arn:
        yield from _external(kafka.cluster_arn, f"{path}.clusterArn", known)
    ways = kafka.auth.model_dump(by_alias=True, exclude_none=True) if kafka.auth else {}
    stated = [(f"auth.{way}", name) for way, name in ways.items() if isinstance(name, str)]
    for where, name in (*stated, ("caSecret", kafka.ca_secret)):
        if name:
            yield from _secret(name, f"{path}.{where}", known)
    for server in kafka.bootstrap_servers or ():
        host = server.rpartition(":")[0].strip("[]")
        yield from _host(host, f"{path}.bootstrapServers", known)


def _registry(registry: Registry, where: str, known: Known) -> Problems:
    """A schema registry is a host that is asked, or one of Glue's, which the account shares."""
    if registry.confluent:
        url = urlsplit(registry.confluent.url)
        if not url.hostname:
            yield Problem("InvalidEndpoint", f"{where}.confluent.url", "the URL has no host")
            return
        yield from _host(url.hostname, f"{where}.confluent.url", known)
        if registry.confluent.secret:
            if url.scheme == "http" and known.grant is not None:
                yield from _plain_secret(url.hostname, f"{where}.confluent.url", known.grant)
            yield from _secret(registry.confluent.secret, f"{where}.confluent.secret", known)
    elif registry.glue and known.facts is not None:
        arn = known.facts.arn("glue", f"registry/{registry.glue.name}")
        yield from _external(arn, f"{where}.glue.name", known)


def _watched(source: DataSource, where: str, partition: str, known: Known) -> Problems:
    """A bucket, or the part of it that is watched, must be granted; a zone of the Platform holds the
    rows of every namespace and is never a source."""
    found = config.watched(source)
    if found is None:
        return
    zones = known.facts.buckets if known.facts else {}
    zone = next((name for name, bucket in zones.items() if bucket == found.bucket), None)
    if zone is not None:
        yield Problem(
            "ExternalNotGranted",
            where,
            f"{found.bucket} is the Platform's {zone} zone, where every namespace's rows are; watch a "
            "bucket of your own",
        )
        return
    arn = f"arn:{partition}:s3:::{found.bucket}"
    below = f"{arn}/{found.prefix}"
    if known.grant is None or not known.grant.may_use(below):
        yield from _external(arn, where, known)


def _recipients(recipients: Sequence[str], known: Known) -> Problems:
    """Whose mails a source may receive is granted: nobody gets another team's."""
    for index, recipient in enumerate(recipients):
        if known.grant is not None and not known.grant.may_receive(recipient):
            yield Problem(
                "RecipientNotGranted",
                f"spec.source.email.receive.recipients[{index}]",
                f"namespace {known.namespace} may not receive the mails of {recipient}; ask the "
                "Platform's owner to grant it (grants[].mailRecipients)",
            )


def _organization(organization: str, where: str, known: Known) -> Problems:
    """Which organization's mails a function may read is granted, and WorkMail is in some regions."""
    if known.facts is None:
        return
    if known.facts.region not in workmail.REGIONS:
        yield Problem(
            "NotInRegion",
            where,
            f"WorkMail is not in {known.facts.region}, where Platform {known.facts.platform} is: use "
            f"a Platform in {', '.join(sorted(workmail.REGIONS))}",
        )
    arn = workmail.organization_arn(organization, known.facts)
    yield from _external(arn, where, known)


def _external(arn: str, where: str, known: Known) -> Problems:
    if not PLAIN_ARN.fullmatch(arn):
        yield Problem(
            "InvalidArn", where, f"{arn} is a pattern, not the ARN of one thing; write it out"
        )
    elif known.grant is not None and not known.grant.may_use(arn):
        yield Problem(
            "ExternalNotGranted",
            where,
            f"namespace {known.namespace} may not use {arn}; ask the Platform's owner to grant it "
            "(grants[].externalArns)",
        )


def _notifications(stated: Notifications | None, known: Known) -> Problems:
    """Topics that are told must be the Platform's own or granted: a role may publish to them."""
    platforms = known.facts.topics.values() if known.facts else ()
    own = {arn for arns in platforms for arn in arns}
    for event_class in EVENT_CLASSES:
        for index, target in enumerate(targets_of(stated, event_class)):
            if target.sns and target.sns not in own:
                where = f"spec.notifications.on{event_class.capitalize()}[{index}].sns"
                yield from _external(target.sns, where, known)


def _secret(name: str, where: str, known: Known) -> Problems:
    if known.facts is None or known.grant is None:
        return
    own = f"{known.facts.secrets_prefix}{known.namespace}/"
    secret = config.secret_id(name, known.namespace, known.facts.secrets_prefix)
    if secret.startswith((own, *known.grant.secret_prefixes)):
        return
    yield Problem(
        "SecretNotGranted",
        where,
        f"secret {name!r} is outside of {own}, which is what namespace {known.namespace} may read; "
        f"store it as {own}{name.rpartition('/')[2]}, or ask the Platform's owner to grant its prefix",
    )


def _egress(source: DataSource, known: Known) -> Problems:
    api = source.spec.source.rest_api
    if api is None:
        return
    path = "spec.source.restApi.endpoint"
    if not urlsplit(api.endpoint).hostname:
        yield Problem("InvalidEndpoint", path, "the URL has no host")
        return
    if known.grant is None:
        return
    secret = any(SECRET.search(text) for _, text in rest.texts(api)) or rest.secrets(api)
    for where, url in rest.urls(api):
        parts = urlsplit(url)
        if parts.hostname and parts.scheme == "http" and secret:
            yield from _plain_secret(parts.hostname, where, known.grant)
        if parts.hostname:
            yield from _host(parts.hostname, where, known)
    for name in api.allowed_hosts:
        yield from _host(name, "spec.source.restApi.allowedHosts", known)


def _network(source: DataSource, known: Known) -> Problems:
    """Where a source's function runs is the Platform's to allow."""
    wish, where = source.spec.network, "spec.network"
    if wish is None or known.facts is None:
        return
    found, name = known.facts.network, known.facts.platform
    if wish == "vpc":
        yield from _needs_vpc(where, known.facts)
        if found is not None and found.functions == "none":
            yield Problem(
                "NetworkNotAllowed",
                where,
                f"Platform {name} lets no function into its VPC (spec.network.functions: none); leave "
                "network out, or ask the Platform's owner for private",
            )
    elif found is not None and found.functions == "all":
        yield Problem(
            "NetworkNotAllowed",
            where,
            f"Platform {name} has every function run in its VPC (spec.network.functions: all); leave "
            "network out",
        )


def _needs_vpc(where: str, facts: PlatformFacts) -> Problems:
    if facts.network is None:
        yield Problem(
            "NoNetwork",
            where,
            f"Platform {facts.platform} has no VPC; leave network out, or ask the Platform's owner for "
            "one (spec.network of the Platform)",
        )


def _job_network(pipeline: Pipeline, known: Known) -> Problems:
    """A job in the VPC; scripts in it reach whatever the VPC reaches, so that the namespace must be
    granted private addresses."""
    wish, facts, where = pipeline.spec.resources.network, known.facts, "spec.resources.network"
    if facts is None:
        return
    if wish == "vpc":
        yield from _needs_vpc(where, facts)
    inside = wish == "vpc" or (wish is None and facts.network is not None and facts.network.jobs)
    scripts = any(step.script for stage in pipeline.spec.stages for step in stage.transform or ())
    if inside and scripts and known.grant is not None and not known.grant.allow_private:
        yield Problem(
            "EgressNotGranted",
            where,
            f"the job runs in the Platform's VPC, where its script could reach private addresses, "
            f"which namespace {known.namespace} may not; set it to public, or ask the Platform's "
            "owner to grant them (grants[].egress.allowPrivate)",
        )


def _host(host: str, where: str, known: Known) -> Problems:
    """Whether a host may be called, as far as its spelling tells: names are resolved later."""
    grant = known.grant
    if grant is None:
        return
    refused = _address_fault(host, grant)
    if refused:
        yield Problem(
            "EgressNotGranted",
            where,
            refused,
        )
    elif not grant.may_call(host):
        yield Problem(
            "EgressNotGranted",
            where,
            f"host {host} is not among those that namespace {known.namespace} may call "
            f"({', '.join(grant.hosts or ())}); ask the Platform's owner to grant it",
        )


def _plain_secret(host: str, path: str, grant: NamespaceGrant) -> Problems:
    """A secret over plain HTTP is readable on its way.

    Where the Platform lets the namespace call its inner networks, a name may stand for one of them.
    """
    address = _address(host)
    inside = host == "localhost" or (address is not None and not address.is_global)
    if not (inside or grant.allow_private or grant.allow_loopback):
        yield Problem(
            "InsecureEndpoint",
            path,
            f"a secret would cross the net in the clear to {host}; use https",
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return inner or found
    return found


ASK = "ask the Platform's owner to grant it (grants[].egress"


def _address_fault(host: str, grant: NamespaceGrant) -> str | None:
    """Why a literal address may not be called. Names are checked when they are resolved."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return None if grant.allow_loopback else f"{host} is loopback; {ASK}.allowLoopback)"
    if address is None:
        return None
    if address.is_link_local or address in METADATA:
        return f"{host} is link-local or an instance's metadata, which no grant allows"
    if address.is_unspecified or address.is_multicast:
        return f"{host} is no host's address"
    if not address.is_global and not grant.allow_private:
        return f"{host} is a private address; {ASK}.allowPrivate)"
    return None


def _schedule(source: DataSource, _: Known) -> Problems:
    found = source.spec.source
    for member, sweeps in (("files", found.files), ("email", found.email)):
        if sweeps and (fault := schedule_fault(sweeps.sweep)):
            yield Problem("InvalidSchedule", f"spec.source.{member}.sweep", fault)
    api = source.spec.source.rest_api
    if api is None:
        return
    path = "spec.source.restApi"
    if fault := schedule_fault(api.schedule):
        yield Problem("InvalidSchedule", f"{path}.schedule", fault)
    if fault := timezone_fault(api.timezone):
        yield Problem("InvalidTimezone", f"{path}.timezone", fault)
    if config.seconds(api.limits.timeout) == 0:
        yield Problem("InvalidDuration", f"{path}.limits.timeout", "a request needs more than 0s")


def _source_load(source: DataSource, known: Known) -> Problems:
    target = source.spec.redshift
    if target is None or _schema_missing(source, known):
        return
    contract = config.row_contract(source, known.schemas)
    yield from _load(target, contract, "spec.redshift", known)
    yield from _deletes(target, contract, "spec.redshift")
    if target.mode == "replace" and source.spec.source.stream:
        yield Problem(
            "InvalidMode",
            "spec.redshift.mode",
            "replace with a stream would leave only the newest records in the table; use append, or "
            "merge with keys",
        )
    api = source.spec.source.rest_api
    if target.mode == "replace" and api and api.incremental:
        yield Problem(
            "InvalidMode",
            "spec.redshift.mode",
            "replace with incremental would leave only the newest rows in the table; use merge "
            "with keys, or append",
        )


def _schema_missing(source: DataSource, known: Known) -> bool:
    return source.spec.schema_ref is not None and source.spec.schema_ref.name not in known.schemas


def _load(target: RedshiftTarget, contract: RowContract, path: str, known: Known) -> Problems:
    schema = target.schema_name.lower()
    if is_reserved(schema):
        yield Problem("ReservedSchema", f"{path}.schema", f"schema {schema!r} is not for loads")
    if known.facts is not None and known.facts.warehouse is None:
        yield Problem(
            "NoWarehouse",
            path,
            f"Platform {known.facts.platform} has no Redshift; ask its owner for spec.redshift",
        )
    if known.grant is not None and not known.grant.may_load(schema):
        yield Problem(
            "SchemaNotGranted",
            f"{path}.schema",
            f"namespace {known.namespace} may not load schema {schema!r}; it may load "
            f"{', '.join(known.grant.schemas or ())}",
        )
    plan = config.load(target, contract, incremental=False)
    named = [("distkey", name) for name in ([plan.distkey] if plan.distkey else [])]
    named += [("sortkey", name) for name in plan.sortkey]
    named += [("keys", name) for name in target.keys or ()]
    named += [("orderBy", name) for name in ([plan.order_by] if plan.order_by else [])]
    for role, name in named:
        yield from _column(role, name, contract, f"{path}.{role}", orders=True)


def _deletes(
    target: RedshiftTarget, contract: RowContract, path: str, before: Sequence[Stage] = ()
) -> Problems:
    """Whether deletions reach a load; ``before`` are the stages between the source and it."""
    plan = config.load(target, contract, incremental=False)
    faults = (
        *deletions.load_faults(plan, contract),
        *deletions.stage_faults(before, plan),
    )
    for reason, field, message in faults:
        yield Problem(reason, f"{path}{field}", message)


def _source_destination(source: DataSource, known: Known) -> Problems:
    spec = source.spec.destination
    if spec is None or _schema_missing(source, known):
        return
    contract = config.row_contract(source, known.schemas)
    yield from _destination(spec, contract, "spec.destination", known)
    if not config.is_iceberg(spec):
        return
    incremental = config.is_incremental(source)
    for reason, field, message in icebergfaults.mode_faults(
        spec, source.spec.redshift, contract, incremental
    ):
        yield Problem(reason, f"spec.destination{field}", message)


def _destination(spec: Destination, contract: RowContract, path: str, known: Known) -> Problems:
    if known.facts is not None and config.bucket_zone(spec.bucket, known.facts) not in OUTPUT_ZONES:
        yield Problem(
            "BucketNotAllowed",
            f"{path}.bucket",
            f"{spec.bucket} is not the Platform's processed or curated bucket; write "
            "${BUCKET:processed} or ${BUCKET:curated}",
        )
    yield from _prefix(spec.prefix, f"{path}.prefix", known)
    yield from _partitions(spec.partition_by, contract, f"{path}.partitionBy")
    if config.is_iceberg(spec):
        yield from _iceberg(spec, contract, path)


def _iceberg(spec: Destination, contract: RowContract, path: str) -> Problems:
    """What an Iceberg table can't be, and columns of its options that are not there."""
    for reason, field, message in icebergfaults.shape_faults(spec, contract):
        yield Problem(reason, f"{path}{field}", message)
    options = spec.iceberg
    if options is None:
        return
    named = [("keys", name) for name in options.keys or ()]
    named += [("orderBy", options.order_by)] if options.order_by else []
    for role, name in named:
        yield from _column(role, name, contract, f"{path}.iceberg.{role}", orders=True)


def _prefix(prefix: str, path: str, known: Known) -> Problems:
    for folder in prefix.removesuffix("/").split("/"):
        if not SEGMENT.fullmatch(folder):
            yield Problem(
                "InvalidPrefix",
                path,
                f"folder {folder!r} of {prefix!r}: use letters, digits and _ . = -, beginning with "
                "a letter or digit",
            )
            return
    if known.grant is not None and not known.grant.may_write(prefix):
        yield Problem(
            "PrefixNotGranted",
            path,
            f"namespace {known.namespace} may not write {prefix!r}; it may write "
            f"{', '.join(known.grant.bucket_prefixes or ())}",
        )


def _partitions(items: Sequence[str], contract: RowContract, path: str) -> Problems:
    names: set[str] = set()
    for index, item in enumerate(items):
        where = f"{path}[{index}]"
        part = config.partition_field(item)
        if part.name.lower() in names:
            yield Problem(
                "DuplicatePartition", where, f"partition {part.name!r} stands there twice"
            )
        names.add(part.name.lower())
        if part.field is None:
            continue
        yield from _column("partition", part.field, contract, where)
        if fault := timezone_fault(part.timezone):
            yield Problem("InvalidTimezone", where, fault)
        found = next((f for f in contract.fields if f.name.lower() == part.field.lower()), None)
        if part.transform != "identity" and found and found.type and found.type not in TIME_TYPES:
            yield Problem(
                "InvalidPartition",
                where,
                f"{part.transform} needs a date or timestamp, but {found.name} is {found.type}",
            )


def _source_grants(source: DataSource, known: Known) -> Problems:
    if known.grant is None:
        return
    if source.spec.deletion_policy == "Delete" and "delete" not in known.grant.allow:
        yield Problem(
            "DeleteNotGranted",
            "spec.deletionPolicy",
            f"namespace {known.namespace} may not let data be deleted; write Retain, or ask the "
            "Platform's owner to allow delete",
        )
    yield from _adoption(source.annotations, known)


def _adoption(annotations: Mapping[str, str], known: Known) -> Problems:
    wants = annotations.get(ADOPT) == "true"
    if wants and known.grant is not None and "adopt" not in known.grant.allow:
        yield Problem(
            "AdoptNotGranted",
            f"metadata.annotations.{ADOPT}",
            f"namespace {known.namespace} may not take over AWS resources; remove the annotation, "
            "or ask the Platform's owner to allow adopt",
        )


def _sources(pipeline: Pipeline, known: Known) -> Problems:
    for index, ref in enumerate(pipeline.spec.sources):
        path = f"spec.sources[{index}]"
        source = known.sources.get(ref.name)
        if source is None:
            names = ", ".join(sorted(known.sources)) or "none"
            yield Problem(
                "UnknownSource",
                path,
                f"there is no DataSource {ref.name!r} in namespace {known.namespace}; there are {names}",
            )
            continue
        if source.spec.platform != pipeline.spec.platform:
            yield Problem(
                "PlatformMismatch",
                path,
                f"DataSource {ref.name} is on Platform {source.spec.platform}, the pipeline on "
                f"{pipeline.spec.platform}; use one",
            )
        yield from _schema(source, known) if _schema_missing(source, known) else ()


def _trigger(pipeline: Pipeline) -> Problems:
    schedule = pipeline.spec.trigger.schedule if pipeline.spec.trigger else None
    if schedule is not None:
        if fault := schedule_fault(schedule.expression):
            yield Problem("InvalidSchedule", "spec.trigger.schedule.expression", fault)
        if fault := timezone_fault(schedule.timezone):
            yield Problem("InvalidTimezone", "spec.trigger.schedule.timezone", fault)
    if config.seconds(pipeline.spec.resources.timeout) < 60:
        yield Problem("InvalidDuration", "spec.resources.timeout", "a job needs at least 1m")


def _stages(pipeline: Pipeline, known: Known) -> Problems:
    """Every stage, against the columns that reach it."""
    first = known.sources[config.primary_names(pipeline)[0]]
    contract = config.row_contract(first, known.schemas)
    source = config.loaded_contract(pipeline, contract)
    yield from _obeying(pipeline, first, source)
    if pipeline.spec.destination:
        after = after_stages(pipeline.spec.stages, contract)
        yield from _destination(pipeline.spec.destination, after, "spec.destination", known)
    names = [ref.name for ref in pipeline.spec.sources]
    for index, stage in enumerate(pipeline.spec.stages):
        path = f"spec.stages[{index}]"
        if stage.transform is not None:
            for number, step in enumerate(stage.transform):
                where = f"{path}.transform[{number}]"
                yield from _step(step, contract, names, where, known)
                contract = after_step(step, contract)
        elif stage.clean is not None:
            yield from _clean(stage.clean, contract, f"{path}.clean")
            contract = after_stage(stage, contract)
        elif stage.validate_ is not None:
            yield from _rules(stage.validate_.rules, f"{path}.validate.rules")
        elif stage.write is not None:
            yield from _prefix(stage.write.prefix, f"{path}.write.prefix", known)
            yield from _partitions(stage.write.partition_by, contract, f"{path}.write.partitionBy")
        elif stage.load is not None:
            where = f"{path}.load.redshift"
            yield from _load(stage.load.redshift, contract, where, known)
            before = pipeline.spec.stages[:index]
            yield from _deletes(stage.load.redshift, source, where, before)
        elif stage.unload is not None:
            yield from _unload(stage, f"{path}.unload", known)


def _obeying(pipeline: Pipeline, first: DataSource, contract: RowContract) -> Problems:
    """Whether deletions reach the Iceberg table, and all that obey them do so by the same keys."""
    stages = pipeline.spec.stages
    targets: dict[str, deletions.Target] = {
        f"spec.stages[{index}]": config.load(stage.load.redshift, contract, incremental=False)
        for index, stage in enumerate(stages)
        if stage.load
    }
    spec = pipeline.spec.destination or first.spec.destination
    if spec is not None and config.is_iceberg(spec):
        where = "spec.destination" if pipeline.spec.destination else "spec.sources[0]"
        incremental = config.is_incremental(first)
        loads = [stage.load.redshift for stage in stages if stage.load]
        target = loads[0] if loads else None
        like = config.load_like(target, contract, incremental)
        table = config.iceberg_table(spec.iceberg or IcebergOptions(), like)
        for reason, field, message in (
            *icebergfaults.mode_faults(spec, target, contract, incremental),
            *icebergfaults.stage_faults(stages, table),
        ):
            yield Problem(reason, f"{where}{field}", message)
        targets[f"{where}.iceberg"] = table
    for path, message in deletions.differing(targets):
        yield Problem("DeletionsLost", path, message)


def _clean(clean: Clean, contract: RowContract, path: str) -> Problems:
    if clean.deduplicate:
        where = f"{path}.deduplicate"
        for key in clean.deduplicate.keys:
            yield from _column("key", key, contract, f"{where}.keys")
        if clean.deduplicate.keep_latest_by:
            latest = clean.deduplicate.keep_latest_by
            yield from _column("keepLatestBy", latest, contract, f"{where}.keepLatestBy")
    for item in clean.pii:
        yield from _column("pii column", item.column, contract, f"{path}.pii")


def _step(
    step: TransformStep, contract: RowContract, sources: Sequence[str], path: str, known: Known
) -> Problems:
    for column in step.select or ():
        yield from _column("select", column, contract, f"{path}.select")
    for column in step.rename or {}:
        yield from _column("rename", column, contract, f"{path}.rename")
    for column, kind in (step.cast or {}).items():
        yield from _column("cast", column, contract, f"{path}.cast")
        try:
            ColumnType.parse(kind)
        except ContractError as error:
            yield Problem("InvalidType", f"{path}.cast.{column}", str(error))
    made = {"rename": (step.rename or {}).values(), "derive": step.derive or ()}
    if step.aggregate:
        made["aggregate.measures"] = step.aggregate.measures
    for kind, names in made.items():
        for name in names:
            if not IDENTIFIER.match(name):
                yield Problem(
                    "InvalidColumn",
                    f"{path}.{kind}",
                    f"{name!r} can't name a column: use letters, digits and _, starting with a "
                    "letter or _",
                )
    expressions = [(f"{path}.derive.{name}", text) for name, text in (step.derive or {}).items()]
    if step.filter:
        expressions.append((f"{path}.filter", step.filter))
    if step.aggregate:
        for column in step.aggregate.group_by:
            yield from _column("groupBy", column, contract, f"{path}.aggregate.groupBy")
        expressions += [
            (f"{path}.aggregate.measures.{name}", text)
            for name, text in step.aggregate.measures.items()
        ]
    for where, text in expressions:
        yield from (Problem("InvalidExpression", where, fault) for fault in check_expression(text))
    if step.sql:
        tables = ["input", *sources]
        yield from (
            Problem("InvalidExpression", f"{path}.sql", fault)
            for fault in check_query(step.sql, tables)
        )
    for kind, other in (("join", step.join), ("union", step.union)):
        if other is not None and other.source not in sources:
            yield Problem(
                "UnknownSource",
                f"{path}.{kind}.source",
                f"{other.source!r} is none of the pipeline's sources ({', '.join(sources)}); add it "
                "to spec.sources",
            )
    if step.script and known.grant is not None and "scripts" not in known.grant.allow:
        yield Problem(
            "ScriptsNotGranted",
            f"{path}.script",
            f"namespace {known.namespace} may not run Python of its own; use the other steps, or "
            "ask the Platform's owner to allow scripts",
        )
    elif step.script and step.script.uri:
        partition = known.facts.partition if known.facts else "aws"
        arn = f"arn:{partition}:s3:::{step.script.uri.removeprefix('s3://')}"
        yield from _external(arn, f"{path}.script.uri", known)


def _unload(stage: Stage, path: str, known: Known) -> Problems:
    assert stage.unload is not None
    if known.facts is not None:
        bucket, _, prefix = stage.unload.to.removeprefix("s3://").partition("/")
        if config.bucket_zone(bucket, known.facts) not in OUTPUT_ZONES:
            yield Problem(
                "BucketNotAllowed",
                f"{path}.to",
                f"{bucket} is not the Platform's processed or curated bucket",
            )
        yield from _prefix(prefix, f"{path}.to", known)
        if known.facts.warehouse is None:
            yield Problem("NoWarehouse", path, f"Platform {known.facts.platform} has no Redshift")
    if fault := _query_fault(stage.unload.query):
        yield Problem("InvalidExpression", f"{path}.query", fault)


def _query_fault(text: str) -> str | None:
    """Why a text is no single SELECT in Redshift's SQL. What it may read, its grants say."""
    import sqlglot
    from sqlglot import errors, exp

    try:
        found = sqlglot.parse(text, read="redshift")
    except errors.SqlglotError as error:
        return f"not SQL that Redshift takes: {str(error).splitlines()[0]}"
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        return "write one SELECT"
    if found[0].find(exp.Into):
        return "INTO is not allowed: an unload only reads"
    if any(table.db.lower() == LEDGER_SCHEMA for table in found[0].find_all(exp.Table)):
        return f"schema {LEDGER_SCHEMA} is Weir's own: it tells of every namespace's loads"
    return None


def _targets(pipeline: Pipeline, known: Known) -> Problems:
    """Two stages must not write one place, nor one of them into the other's folder."""
    seen: dict[str, str] = {}
    for index, stage in enumerate(pipeline.spec.stages):
        if stage.load:
            target = stage.load.redshift
            name = f"table {target.schema_name.lower()}.{target.table.lower()}"
        elif stage.write:
            name = f"prefix {stage.write.zone}/{stage.write.prefix}"
        elif stage.unload:
            bucket, _, prefix = stage.unload.to.removeprefix("s3://").partition("/")
            name = f"prefix {_zone(bucket, known)}/{prefix}"
        else:
            continue
        for other, holder in seen.items():
            inside = name.startswith("prefix ") and (
                name.startswith(other) or other.startswith(name)
            )
            if name == other or inside:
                yield Problem(
                    "DuplicateTarget",
                    f"spec.stages[{index}]",
                    f"stages {holder} and {stage.name} both write {name}; give one another target",
                )
        seen[name] = stage.name


def _zone(bucket: str, known: Known) -> str:
    """The zone that a bucket's name or reference stands for, or the name."""
    found = BUCKET.fullmatch(bucket)
    if found:
        return found.group(1)
    return (config.bucket_zone(bucket, known.facts) if known.facts else None) or bucket
