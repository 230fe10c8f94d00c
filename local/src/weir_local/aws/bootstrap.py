"""The principals and the warehouse that a fresh local AWS needs before an operator starts."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.exceptions

from weir_local.aws.server import EndpointSession

OPERATOR = "weir-operator"
PERSON = "weir-admin"
WORKGROUP = "weir"
DATABASE = "weir"
ADMIN_SECRET = "weir/redshift-admin"
COPY_ROLE = "weir-redshift-copy"

ADMIN_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
COPY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation", "s3:PutObject"],
            "Resource": "*",
        },
        {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"},
    ],
}
REDSHIFT_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {
                "Service": ["redshift.amazonaws.com", "redshift-serverless.amazonaws.com"]
            },
            "Action": "sts:AssumeRole",
        }
    ],
}


def managed_policies(iam: Any, documents: Mapping[str, dict[str, Any]]) -> list[str]:
    """Customer managed policies of these names and documents; their ARNs.

    :param documents: name -> policy document; an existing policy gets a new version
    """
    arns = []
    for name, document in documents.items():
        text = json.dumps(document)
        try:
            arns.append(iam.create_policy(PolicyName=name, PolicyDocument=text)["Policy"]["Arn"])
        except iam.exceptions.EntityAlreadyExistsException:
            (arn,) = (
                item["Arn"]
                for page in iam.get_paginator("list_policies").paginate(Scope="Local")
                for item in page["Policies"]
                if item["PolicyName"] == name
            )
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
            arns.append(arn)
    return arns


def user(iam: Any, name: str, policies: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """A user with these managed policies and a new access key.

    :returns: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    """
    try:
        iam.create_user(UserName=name)
    except iam.exceptions.EntityAlreadyExistsException:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for arn in managed_policies(iam, policies):
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def copy_role(iam: Any) -> str:
    """The role that Redshift's COPY and UNLOAD use; its ARN."""
    try:
        role = iam.create_role(
            RoleName=COPY_ROLE, AssumeRolePolicyDocument=json.dumps(REDSHIFT_TRUST)
        )["Role"]
    except iam.exceptions.EntityAlreadyExistsException:
        role = iam.get_role(RoleName=COPY_ROLE)["Role"]
    iam.put_role_policy(
        RoleName=COPY_ROLE, PolicyName="copy", PolicyDocument=json.dumps(COPY_POLICY)
    )
    return str(role["Arn"])


def warehouse(session: EndpointSession) -> dict[str, str]:
    """A Redshift Serverless workgroup with its admin secret and copy role.

    :returns: its names and ARNs, as a Platform names them
    """
    role = copy_role(session.client("iam"))
    serverless = session.client("redshift-serverless")
    manager = session.client("secretsmanager")
    alphabet = string.ascii_letters + string.digits
    password = "Aa1" + "".join(secrets.choice(alphabet) for _ in range(29))
    value = {"username": "admin", "password": password, "engine": "redshift"}
    try:
        secret = manager.create_secret(Name=ADMIN_SECRET, SecretString=json.dumps(value))["ARN"]
    except manager.exceptions.ResourceExistsException:
        described = manager.describe_secret(SecretId=ADMIN_SECRET)
        secret = described["ARN"]
        stored = manager.get_secret_value(SecretId=ADMIN_SECRET)["SecretString"]
        password = json.loads(stored)["password"]
    conflict = serverless.exceptions.ConflictException
    try:
        serverless.create_namespace(
            namespaceName=WORKGROUP,
            dbName=DATABASE,
            adminUsername="admin",
            adminUserPassword=password,
            iamRoles=[role],
            defaultIamRoleArn=role,
        )
    except conflict:
        # The warehouse's files outlive the process, the emulator's secrets do not.
        serverless.update_namespace(
            namespaceName=WORKGROUP,
            adminUserPassword=password,
            iamRoles=[role],
            defaultIamRoleArn=role,
        )
    try:
        serverless.create_workgroup(workgroupName=WORKGROUP, namespaceName=WORKGROUP)
    except conflict:
        serverless.get_workgroup(workgroupName=WORKGROUP)
    return {
        "workgroupName": WORKGROUP,
        "database": DATABASE,
        "adminSecretArn": secret,
        "copyRoleArn": role,
    }


def bootstrap(
    endpoint: str,
    region: str,
    state: Path,
    policies: Mapping[str, dict[str, Any]] | None = None,
    unattached: Mapping[str, dict[str, Any]] | None = None,
) -> Path:
    """Make the operator's user, a person's user and the warehouse, and write them down.

    Running it again gives the users new keys and changes nothing else.

    :param endpoint: the local AWS
    :param region: where the warehouse is
    :param state: the directory for ``credentials.json``, readable by its owner alone
    :param policies: the operator's policies by name; all of AWS when there are none
    :param unattached: policies that only have to exist, such as a permissions boundary
    :returns: the file written
    """
    session = EndpointSession(
        endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name=region
    )
    iam = session.client("iam")
    managed_policies(iam, unattached or {})
    content: dict[str, Any] = {
        "endpoint": endpoint,
        "region": region,
        "account": session.client("sts").get_caller_identity()["Account"],
        "operator": user(iam, OPERATOR, policies or {OPERATOR: ADMIN_POLICY}),
        "person": user(iam, PERSON, {PERSON: ADMIN_POLICY}),
    }
    try:
        content["redshift"] = warehouse(session)
    except botocore.exceptions.ClientError as failed:
        raise RuntimeError(f"the warehouse could not be made: {failed}") from failed
    state.mkdir(parents=True, exist_ok=True)
    path = state / "credentials.json"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
