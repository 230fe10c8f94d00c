"""A Platform with a source, a stream and one pipeline of every stage, on the local AWS, by adapters alone.

The operator acts under the very policies of docs/iam: as a role that is assumed, as in a cluster.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from private_vpc import private_vpc
from weir.api.v1alpha1 import DataSource, Pipeline, Platform
from weir.aws.base import ServiceAdapter, blind
from weir.aws.calls import wait_for
from weir.aws.errors import NotYet
from weir.aws.registry import adapters
from weir.aws.session import Assume, AwsSession, Target
from weir.blueprint import check, datasource, pipeline, platform
from weir.blueprint.facts import PlatformFacts
from weir.blueprint.grants import namespace_grant
from weir.blueprint.uses import by_namespace, use_of
from weir.reconcile.apply import Applied, Applier, Entry
from weir.reconcile.inventory import Inventory
from weir.reconcile.plan import PhysicalKey, Plan, make_plan
from weir.resource import Adapter, Observed, Owner, Resource
from weir_local import stack
from weir_local.aws import bootstrap
from weir_local.aws.server import LocalAws

NAMESPACE = "team"
REST_SECONDS = 60.0
"""How long AWS may take until an object rests."""
OPERATOR_ROLE = "operator-under-test"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
            "Action": "sts:AssumeRole",
        }
    ],
}

SOURCE_SPEC: dict[str, Any] = {
    "source": {
        "restApi": {
            "endpoint": "https://api.example.com/customers",
            "headers": {"Authorization": "${SECRET:api_key}"},
            "schedule": "rate(1 hour)",
        }
    },
    "schema": {
        "discovery": "crawler",
        "fields": [
            {"name": "id", "type": "integer", "nullable": False},
            {"name": "name", "type": "string", "maxLength": 200},
            {"name": "email", "type": "string"},
            {"name": "amount", "type": "decimal(12,2)"},
            {"name": "orderedAt", "type": "timestamptz"},
        ],
        "keys": ["id"],
    },
    "destination": {"prefix": "customers/", "partitionBy": ["year", "day(orderedAt, UTC)"]},
    "notifications": {"onFailure": [{"email": "team@example.com"}]},
    "pipeline": {"managed": False},
    "deletionPolicy": "Delete",
}

MAILS_SPEC: dict[str, Any] = {
    "source": {"email": {"receive": {"recipients": ["orders@weir.example"]}}},
    "schema": {"fields": [{"name": "id", "type": "integer", "nullable": False}]},
    "deletionPolicy": "Delete",
}
OFFICE_SPEC: dict[str, Any] = {
    **MAILS_SPEC,
    "source": {"email": {"workmail": {"organizationId": "m-" + "0a" * 16}}},
}
STREAM_SPEC: dict[str, Any] = {
    "source": {
        "stream": {
            "kinesis": {
                "create": {"mode": "provisioned", "shards": 1, "retentionHours": 48},
                "enhancedFanOut": True,
            },
            "format": "avro",
            "avroSchema": '{"type": "record", "name": "click", "fields": []}',
        }
    },
    "deletionPolicy": "Delete",
}

PIPELINE_SPEC: dict[str, Any] = {
    "sources": [{"name": "customers"}],
    "trigger": {"schedule": {"expression": "cron(0 6 * * ? *)", "timezone": "Europe/Berlin"}},
    "notifications": {
        "onQuality": [{"email": "quality@example.com"}],
        "onSuccess": [{"email": "team@example.com"}],
    },
    "stages": [
        {
            "name": "tidy",
            "clean": {
                "trim": True,
                "deduplicate": {"keys": ["id"], "keepLatestBy": "orderedAt"},
                "pii": [{"column": "email", "action": "hash"}],
            },
        },
        {
            "name": "shape",
            "transform": [
                {"filter": "amount > 0"},
                {"rename": {"name": "customerName"}},
                {"cast": {"amount": "decimal(14,2)"}},
                {"script": {"inline": "def transform(df, spark):\n    return df\n"}},
            ],
        },
        {"name": "rules", "validate": {"rules": ['IsComplete "id"']}},
        {"name": "curate", "write": {"prefix": "customers/", "partitionBy": ["year"]}},
        {
            "name": "warehouse",
            "load": {
                "redshift": {
                    "schema": "customers",
                    "table": "customer_data",
                    "mode": "merge",
                    "keys": ["id"],
                    "sortkey": "orderedAt",
                }
            },
        },
        {
            "name": "share",
            "unload": {
                "query": "SELECT id FROM customers.customer_data",
                "to": "${BUCKET:curated}/shared/",
            },
        },
    ],
}


def artifacts(folder: Path) -> dict[str, dict[str, str]]:
    """Code that is small, in the build's layout, with its index."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), "def handler(event, context): return 1\n")
    bodies = {
        "functions": ("functions.zip", buffer.getvalue()),
        "files": ("files.zip", buffer.getvalue()),
        "streams": ("streams.zip", buffer.getvalue()),
        "glue": ("glue.zip", buffer.getvalue()),
        "glueScript": ("process.py", b"print('hello')\n"),
    }
    index = {}
    for name, (file, body) in bodies.items():
        (folder / file).write_bytes(body)
        digest = hashlib.sha256(body)
        index[name] = {
            "file": file,
            "sha256": digest.hexdigest(),
            "codeSha256": base64.b64encode(digest.digest()).decode(),
        }
    return index


@dataclass
class Part:
    """One object's resources and what is known of them."""

    owner: Owner
    resources: tuple[Resource, ...]
    entries: list[Entry] = field(default_factory=list)


class Installation:
    """Everything, from policies to pipeline.

    Parameters
    ----------
    aws
        A local AWS; it gets the policies, the operator's role, the warehouse and the secrets.
    folder
        For the code and for what bootstrap writes down.
    """

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self.admin = aws.admin_session()
        self.iam = self.admin.client("iam")
        policies = stack.published_policies(aws.account, aws.region)
        boundary = policies.pop(stack.BOUNDARY_FILE)
        bootstrap.managed_policies(self.iam, {stack.BOUNDARY: boundary})
        self.policies = policies
        self.warehouse = bootstrap.warehouse(self.admin)
        secrets = self.admin.client("secretsmanager")
        for name in ("api_key", "pii-key"):
            secrets.create_secret(Name=f"weir/{NAMESPACE}/{name}", SecretString="s3cret")
        self.admin.client("ses").verify_domain_dkim(Domain="weir.example")
        arn = self.iam.create_role(
            RoleName=OPERATOR_ROLE, AssumeRolePolicyDocument=json.dumps(TRUST)
        )["Role"]["Arn"]
        for policy in bootstrap.managed_policies(self.iam, policies):
            self.iam.attach_role_policy(RoleName=OPERATOR_ROLE, PolicyArn=policy)
        self.session = AwsSession(
            Target(aws.region, roles=(Assume(arn),), endpoint_url=aws.endpoint)
        )
        self.adapters: Mapping[str, Adapter] = adapters(self.session)
        self.pool = ThreadPoolExecutor(4)
        self._folder, self._aws = folder, aws
        self._models()

    def _models(self) -> None:
        found = stack.platform(
            {
                "redshift": self.warehouse,
                "account": self._aws.account,
                "region": self._aws.region,
                "endpoint": self._aws.endpoint,
            }
        )
        found["metadata"]["uid"] = "p-1"
        found["spec"]["deletionPolicy"] = "Delete"
        found["spec"]["changeEvents"] = True
        found["spec"]["grants"][0]["namespaces"] = {"names": [NAMESPACE]}
        found["spec"]["network"] = self.network()
        found["spec"]["grants"][0].setdefault("egress", {})["allowPrivate"] = True
        found["spec"]["notifications"] = {"onFailure": [{"email": "ops@example.com"}]}
        self.platform = Platform.model_validate(found)
        self.index = artifacts(self._folder)
        metadata = {"namespace": NAMESPACE, "name": "customers"}
        self.source = DataSource.model_validate(
            {"metadata": {**metadata, "uid": "s-1"}, "spec": SOURCE_SPEC}
        )
        self.mails = DataSource.model_validate(
            {"metadata": {**metadata, "name": "mails", "uid": "m-1"}, "spec": MAILS_SPEC}
        )
        self.office = DataSource.model_validate(
            {"metadata": {**metadata, "name": "office", "uid": "o-1"}, "spec": OFFICE_SPEC}
        )
        self.stream = DataSource.model_validate(
            {
                "metadata": {"namespace": NAMESPACE, "name": "clicks", "uid": "s-2"},
                "spec": STREAM_SPEC,
            }
        )
        self.pipeline = Pipeline.model_validate(
            {"metadata": {**metadata, "uid": "l-1"}, "spec": PIPELINE_SPEC}
        )

    def network(self) -> dict[str, Any]:
        """A VPC with two subnets that have no way out, and what the Platform wants there."""
        return {
            **private_vpc(self.admin.client("ec2"), self._aws.region, "10.7"),
            "functions": "all",
            "jobs": True,
            "endpoints": ["s3", "secretsmanager"],
        }

    def facts(self, observed: Mapping[tuple[str, str], str] | None) -> PlatformFacts:
        """The Platform's facts; ``observed`` is what AWS gave its resources."""
        return platform.platform_facts(
            self.platform,
            cluster=stack.CLUSTER_ID,
            artifact_index=self.index,
            artifact_folder=str(self._folder),
            observed=observed,
        )

    def owner(self, kind: str, model: Any) -> Owner:
        """The owner that a custom resource is."""
        return Owner(stack.CLUSTER_ID, kind, model.namespace, model.name, model.uid)

    def applier(self) -> Applier:
        """The engine, which knows nothing yet."""
        return Applier(self.adapters, Inventory(self.adapters, 0, lambda: 0.0), self.pool)

    def create(self) -> list[Part]:
        """Apply Platform, sources and pipeline, each until it rests."""
        grant = namespace_grant(self.platform, NAMESPACE)
        uses = by_namespace(
            map(use_of, (self.source, self.mails, self.office, self.stream, self.pipeline)),
            {NAMESPACE: grant},
        )
        first = Part(
            self.owner("Platform", self.platform),
            platform.platform_resources(self.platform, self.facts(None), uses),
        )
        attributes = self.apply(first).attributes
        facts = self.facts(attributes)
        sources = {self.source.name: self.source}
        known = check.Known(NAMESPACE, {}, sources, facts, grant)
        problems = [
            *check.datasource_problems(self.source, known),
            *check.datasource_problems(self.mails, known),
            *check.datasource_problems(self.stream, known),
            *check.pipeline_problems(self.pipeline, known),
        ]
        assert problems == [], [str(problem) for problem in problems]
        second = Part(
            self.owner("DataSource", self.source),
            datasource.datasource_resources(self.source, facts, grant, {}),
        )
        third = Part(
            self.owner("Pipeline", self.pipeline),
            pipeline.pipeline_resources(self.pipeline, facts, grant, sources, {}),
        )
        fourth = Part(
            self.owner("DataSource", self.mails),
            datasource.datasource_resources(self.mails, facts, grant, {}),
        )
        fifth = Part(
            self.owner("DataSource", self.stream),
            datasource.datasource_resources(self.stream, facts, grant, {}),
        )
        sixth = Part(
            self.owner("DataSource", self.office),
            datasource.datasource_resources(self.office, facts, grant, {}),
        )
        for part in (second, third, fourth, fifth, sixth):
            self.apply(part)
        return [first, second, third, fourth, fifth, sixth]

    def apply(self, part: Part) -> Applied:
        """Apply one object until it rests."""
        end = time.monotonic() + REST_SECONDS
        while time.monotonic() < end:
            result = self.applier().apply(part.owner, part.resources, part.owner.tags, part.entries)
            part.entries = result.entries
            assert result.problems == [], [str(problem.error) for problem in result.problems]
            if result.converged:
                return result
            time.sleep(0.05)
        raise AssertionError(f"{part.owner} does not come to rest: {result.waiting}")

    def plan(self, part: Part, observed: Mapping[PhysicalKey, Observed]) -> Plan:
        """What would be done, given what was observed."""
        traits = {kind: adapter.traits for kind, adapter in self.adapters.items()}
        return make_plan(part.owner, part.resources, observed, traits, part.owner.tags)

    def delete(self, part: Part) -> Applied:
        """Take one object down; what AWS has not let go of yet is tried again, as the engine does."""

        def again() -> Applied:
            found = self.applier().delete(part.owner, part.entries, part.resources, keep_data=False)
            part.entries = found.entries
            return found

        return wait_for(
            again,
            lambda found: not any(isinstance(one.error, NotYet) for one in found.problems),
            seconds=30.0,
        )


def one_by_one(
    kinds: Mapping[str, Adapter], resources: Sequence[Resource]
) -> dict[PhysicalKey, Observed]:
    """Every resource asked for alone."""
    found = {}
    for resource in resources:
        seen = kinds[resource.kind].observe([resource.name])
        found |= {(resource.kind, name): one for name, one in seen.items()}
    return found


def all_at_once(
    kinds: Mapping[str, Adapter], resources: Sequence[Resource]
) -> dict[PhysicalKey, Observed]:
    """Every kind listed in one go, together with names that do not exist."""
    found = {}
    for kind in sorted({resource.kind for resource in resources}):
        names = [resource.name for resource in resources if resource.kind == kind]
        nobody = [f"{name}{number}" for name in names for number in range(4)]
        adapter = kinds[kind]
        assert isinstance(adapter, ServiceAdapter)
        found |= {(kind, seen.name): seen for seen in adapter.listing([*names, *nobody])}
    return found


def by_name(seen: Iterable[Observed]) -> dict[str, Observed]:
    """All of a survey."""
    return {one.name: one for one in seen}


def as_listed(full: Observed, listed: Observed) -> Observed:
    """A deep look less what a listing can't tell; a version that only one of them has is let go."""
    seen = blind(full, *listed.unseen)
    return seen if full.version and listed.version else replace(seen, version=listed.version)
