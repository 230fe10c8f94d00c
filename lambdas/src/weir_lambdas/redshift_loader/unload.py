"""UNLOAD: a query's rows to S3, under a prefix of the run's own, with a manifest that commits."""

from __future__ import annotations

from dataclasses import dataclass

from weir_contract.compile import literal
from weir_contract.pipelines import Unload
from weir_lambdas.redshift_loader.sql import iam_role

FORMATS = {"parquet": "FORMAT AS PARQUET", "csv": "FORMAT AS CSV HEADER", "json": "FORMAT AS JSON"}


@dataclass(frozen=True)
class UnloadPlan:
    """One UNLOAD. ``kms_key_arn`` encrypts the files; None leaves that to the bucket."""

    run: str
    unload: Unload
    role_arn: str | None = None
    kms_key_arn: str | None = None

    @property
    def prefix(self) -> str:
        """Where the run's files go. A repeated run writes to the same place."""
        folder = self.unload.prefix.strip("/")
        return f"s3://{self.unload.bucket}/{folder + '/' if folder else ''}run={self.run}/"


def unload_statements(plan: UnloadPlan) -> list[str]:
    """The statement. A repeated run overwrites its own files; the manifest names what counts.

    Source: Amazon Redshift Database Developer Guide, *UNLOAD*.
    """
    query = plan.unload.query.strip().rstrip(";")
    lines = [
        f"UNLOAD ({literal(query)})",
        f"TO {literal(plan.prefix)}",
        iam_role(plan.role_arn),
        FORMATS[plan.unload.format],
        "MANIFEST",
        "ALLOWOVERWRITE",
    ]
    if plan.kms_key_arn:
        lines.append(f"KMS_KEY_ID {literal(plan.kms_key_arn)} ENCRYPTED")
    return ["\n".join(lines)]
