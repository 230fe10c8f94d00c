"""Each example of a Platform becomes ready in an account that has what it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig import Rig, open_key_policy

from private_vpc import private_vpc
from weir.kube.keys import Key
from weir_local.aws.bootstrap import ADMIN_SECRET, OPERATOR
from weir_local.aws.server import ACCOUNT
from weir_local.stack import BOUNDARY, CLUSTER_ID, REGION

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "examples" / "platform"
PASSWORD = "Example-2026-of-Weir"


def allowing(action: str, resource: str) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trusting(client: Any, name: str, principal: dict[str, Any], **conditions: str) -> str:
    """A role that somebody may assume; its ARN."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "sts:AssumeRole",
        **({"Condition": {"StringEquals": conditions}} if conditions else {}),
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return str(client.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"])


def key_for_everybody(rig: Rig) -> str:
    """A key of the account's own, as docs/platform.md asks for one."""
    kms = rig.aws.admin_session().client("kms")
    tags = [{"TagKey": "weir.dev/cluster", "TagValue": CLUSTER_ID}]
    return str(kms.create_key(Policy=open_key_policy(), Tags=tags)["KeyMetadata"]["Arn"])


def admin_secret(rig: Rig, name: str) -> str:
    login = {"username": "admin", "password": PASSWORD, "engine": "redshift"}
    manager = rig.aws.admin_session().client("secretsmanager")
    return str(manager.create_secret(Name=name, SecretString=json.dumps(login))["ARN"])


def copy_role(rig: Rig) -> str:
    spec = rig.get(Key("Platform", "", rig.platform_name))["spec"]
    return str(spec["redshift"]["copyRoleArn"])


def serverless(rig: Rig) -> dict[str, Any]:
    admin = rig.aws.admin_session()
    iam = admin.client("iam")
    trusting(iam, "security", {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    role, client = copy_role(rig), admin.client("redshift-serverless")
    client.create_namespace(
        namespaceName="analytics",
        dbName="dev",
        adminUsername="admin",
        adminUserPassword=PASSWORD,
        iamRoles=[role],
        defaultIamRoleArn=role,
    )
    client.create_workgroup(workgroupName="analytics", namespaceName="analytics")
    secret = admin_secret(rig, f"{ADMIN_SECRET}-analytics")
    # What stands for REDSHIFT_ADMIN_SECRET in docs/iam is another Platform's here.
    may = allowing("secretsmanager:GetSecretValue", secret)
    iam.put_user_policy(UserName=OPERATOR, PolicyName="analytics", PolicyDocument=may)
    return {"redshift": {"adminSecretArn": secret, "copyRoleArn": role}}


def provisioned(rig: Rig) -> dict[str, Any]:
    admin = rig.aws.admin_session()
    for name in ("finance-lake-processed", "finance-lake-curated"):
        admin.client("s3").create_bucket(Bucket=name)
    admin.client("redshift").create_cluster(
        ClusterIdentifier="finance",
        NodeType="ra3.large",
        MasterUsername="admin",
        MasterUserPassword=PASSWORD,
        DBName="analytics",
        IamRoles=[copy_role(rig)],
    )
    secret = admin_secret(rig, "redshift/finance-admin")
    iam = admin.client("iam")
    user = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{OPERATOR}"}
    role = trusting(iam, "weir-operator", user, **{"sts:ExternalId": "weir-finance"})
    for policy in iam.list_attached_user_policies(UserName=OPERATOR)["AttachedPolicies"]:
        iam.attach_role_policy(RoleName="weir-operator", PolicyArn=policy["PolicyArn"])
    may = allowing("sts:AssumeRole", role)
    iam.put_user_policy(UserName=OPERATOR, PolicyName="finance", PolicyDocument=may)
    may = allowing("secretsmanager:GetSecretValue", secret)
    iam.put_role_policy(RoleName="weir-operator", PolicyName="secret", PolicyDocument=may)
    return {
        "assumeRole": {"roleArn": role},
        "kms": {"keyArn": key_for_everybody(rig)},
        "redshift": {"adminSecretArn": secret, "copyRoleArn": copy_role(rig)},
    }


def vpc(rig: Rig) -> dict[str, Any]:
    return {"network": private_vpc(rig.aws.admin_session().client("ec2"), REGION, "10.9")}


GROUNDS = {"serverless": serverless, "provisioned": provisioned, "vpc": vpc}
"""Example -> makes what it names in the account, and gives the ids that AWS chose."""


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_it_becomes_ready(rig: Rig, name: str) -> None:
    spec = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["spec"]
    here = {
        "region": REGION,
        "accountId": ACCOUNT,
        "endpointUrl": rig.aws.endpoint,
        "permissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}",
    }
    if "adminArns" in spec.get("kms", {}):
        spec["kms"]["adminArns"] = [f"arn:aws:iam::{ACCOUNT}:role/security"]
    chosen = GROUNDS[name](rig)
    for field, value in chosen.items():
        spec[field] = {**spec[field], **value}
    key = rig.apply("Platform", f"example-{name}", {**spec, **here})
    rig.settle(key)
    rig.silence()
    assert rig.look(key).outcome == "converged"
    assert (rig.aws_writes(), rig.kube.writes) == ([], [])
    rig.delete(key)
