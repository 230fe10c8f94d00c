"""The reference document's example and its Platform, as the blueprint sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from weir.api.v1alpha1 import DataSource, Pipeline, Platform
from weir.blueprint import datasource, pipeline, platform
from weir.blueprint.facts import PlatformFacts
from weir.blueprint.grants import NamespaceGrant, namespace_grant
from weir.blueprint.uses import by_namespace, use_of
from weir.resource import Resource

ACCOUNT, REGION, CLUSTER = "111122223333", "eu-central-1", "prod"
ARTIFACTS = {
    "functions": {"file": "functions.zip", "sha256": "ab" * 32, "codeSha256": "q6s=" * 11},
    "files": {"file": "files.zip", "sha256": "12" * 32, "codeSha256": "EhI=" * 11},
    "streams": {"file": "streams.zip", "sha256": "34" * 32, "codeSha256": "NDQ=" * 11},
    "glue": {"file": "glue.zip", "sha256": "cd" * 32, "codeSha256": "zc0=" * 11},
    "glueScript": {"file": "process.py", "sha256": "ef" * 32, "codeSha256": "7+8=" * 11},
}
OBSERVED = {
    ("kms-key", "arn"): f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0f0e0d0c-0b0a-4908-8706-050403020100",
    (
        "warehouse",
        "arn",
    ): f"arn:aws:redshift-serverless:{REGION}:{ACCOUNT}:workgroup/11111111-2222-4333-8444-555555555555",
}


def platform_manifest(**spec: Any) -> dict[str, Any]:
    """A Platform's manifest, with these fields of the spec on top."""
    return {
        "metadata": {"name": "default", "uid": "p-1"},
        "spec": {
            "region": REGION,
            "accountId": ACCOUNT,
            "redshift": {
                "workgroup": "analytics",
                "database": "dev",
                "adminSecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:admin-AbCdEf",
                "copyRoleArn": f"arn:aws:iam::{ACCOUNT}:role/redshift-copy",
            },
            "permissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/weir-boundary",
            "notifications": {"onFailure": [{"email": "ops@example.com"}]},
            "grants": [{"namespaces": {"names": ["default"]}}],
            **spec,
        },
    }


def source_manifest(**spec: Any) -> dict[str, Any]:
    """The reference document's example, with these fields of the spec on top."""
    return {
        "metadata": {"name": "customer-data-api", "namespace": "default", "uid": "s-1"},
        "spec": {
            "source": {
                "restApi": {
                    "endpoint": "https://api.example.com/customers",
                    "method": "GET",
                    "headers": {"Authorization": "${SECRET:customer_api_key}"},
                    "schedule": "rate(1 hour)",
                }
            },
            "schema": {
                "type": "json",
                "mapping": {
                    "customerId": "id",
                    "customerName": "name",
                    "customerEmail": "email",
                },
            },
            "destination": {
                "bucket": "${BUCKET:processed}",
                "prefix": "customers/",
                "partitionBy": ["year", "month", "day"],
            },
            "redshift": {
                "schema": "customers",
                "table": "customer_data",
                "distkey": "customerId",
                "sortkey": "customerName",
            },
            **spec,
        },
    }


@dataclass(frozen=True)
class World:
    """A Platform and the reference example on it."""

    platform: Platform
    facts: PlatformFacts
    grant: NamespaceGrant
    source: DataSource
    pipeline: Pipeline

    def platform_resources(self) -> tuple[Resource, ...]:
        """Of the Platform, with the example's claims."""
        uses = by_namespace([use_of(self.source), use_of(self.pipeline)], {"default": self.grant})
        return platform.platform_resources(self.platform, self.facts, uses)

    def source_resources(self) -> tuple[Resource, ...]:
        """Of the DataSource."""
        return datasource.datasource_resources(self.source, self.facts, self.grant, {})

    def pipeline_resources(self) -> tuple[Resource, ...]:
        """Of the Pipeline."""
        sources = {self.source.name: self.source}
        return pipeline.pipeline_resources(self.pipeline, self.facts, self.grant, sources, {})

    def resources(self) -> tuple[Resource, ...]:
        """Of all three."""
        return (
            *self.platform_resources(),
            *self.source_resources(),
            *self.pipeline_resources(),
        )


def make_world(
    platform_spec: dict[str, Any] | None = None,
    source_spec: dict[str, Any] | None = None,
    pipeline_spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> World:
    """The reference example, changed as the arguments say."""
    owner = Platform.model_validate(platform_manifest(**(platform_spec or {})))
    facts = platform.platform_facts(
        owner,
        cluster=CLUSTER,
        artifact_index=ARTIFACTS,
        artifact_folder="dist/artifacts",
        observed=OBSERVED,
    )
    manifest = source_manifest(**(source_spec or {}))
    if status:
        manifest["status"] = status
    source = DataSource.model_validate(manifest)
    child = datasource.managed_pipeline(source)
    assert child is not None
    child["spec"].update(pipeline_spec or {})
    return World(
        owner,
        facts,
        namespace_grant(owner, "default"),
        source,
        Pipeline.model_validate(child),
    )


@pytest.fixture
def world() -> World:
    """The reference example as it stands in the document."""
    return make_world()


@pytest.fixture
def worlds() -> Any:
    """:func:`make_world`, for tests that change the example."""
    return make_world
