"""Redshift Serverless: namespaces and workgroups.

https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from weir_local.redshift.authorization import ApiError, Caller, caller, require
from weir_local.redshift.warehouses import new_warehouse, registry

JSON_1_1 = "application/x-amz-json-1.1"
NAME = re.compile(r"^[a-z0-9-]{3,64}$")
CREDENTIAL_SECONDS = 900
PORT = 5439

Request = dict[str, Any]


async def handle_request(
    _method: str, _path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """Answer one request of ``RedshiftServerless.*``."""
    action = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
    try:
        operation = OPERATIONS.get(action)
        if operation is None:
            raise ApiError("UnknownOperationException", f"{action} is not known here")
        answer = operation(caller(headers, query), json.loads(body or b"{}"))
    except ApiError as problem:
        fault = {"__type": problem.code, "message": problem.message}
        heads = {"Content-Type": JSON_1_1, "x-amzn-errortype": problem.code}
        return problem.status, heads, json.dumps(fault).encode()
    return 200, {"Content-Type": JSON_1_1}, json.dumps(answer).encode()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _name(request: Request, key: str) -> str:
    name = str(request.get(key, ""))
    if not NAME.match(name):
        raise ApiError(
            "ValidationException", f"{key} takes 3 to 64 lower-case letters, digits and hyphens."
        )
    return name


def _get(who: Caller, kind: str, name: str) -> Request:
    found = registry().get(kind, who.account, who.region, name)
    if found is None:
        raise ApiError("ResourceNotFoundException", f"The {kind[:-1]} {name} was not found.")
    return found


def _roles(who: Caller, request: Request) -> tuple[list[str], str]:
    roles = [str(arn) for arn in request.get("iamRoles") or []]
    default = str(request.get("defaultIamRoleArn") or "")
    for arn in roles:
        require(who, "iam:PassRole", arn)
    if default and default not in roles:
        raise ApiError("ValidationException", "defaultIamRoleArn has to be one of iamRoles.")
    return roles, default


def create_namespace(who: Caller, request: Request) -> Request:
    """CreateNamespace."""
    name = _name(request, "namespaceName")
    known = registry()
    if known.get("namespaces", who.account, who.region, name):
        raise ApiError("ConflictException", f"The namespace {name} already exists.")
    roles, default = _roles(who, request)
    admin = str(request.get("adminUsername") or "admin").lower()
    document = new_warehouse(name, admin, str(request.get("dbName") or "dev"), roles, default)
    document |= {
        "id": str(uuid.uuid4()),
        "created": _now(),
        "kmsKeyId": request.get("kmsKeyId", "AWS_OWNED_KMS_KEY"),
        "tags": request.get("tags") or [],
        "secret": "",
    }
    password = str(request.get("adminUserPassword") or "")
    if request.get("manageAdminPassword"):
        if password:
            raise ApiError(
                "ValidationException",
                "adminUserPassword can't be given with manageAdminPassword.",
            )
        password = secrets.token_urlsafe(24) + "aA1"
        document["secret"] = _managed_secret(name, admin, password)
    known.put("namespaces", who.account, who.region, name, document)
    known.warehouse(document, who.account, who.region).set_admin(admin, password)
    return {"namespace": _namespace(who, document)}


def _managed_secret(namespace: str, admin: str, password: str) -> str:
    from ministack.services import secretsmanager

    name = f"redshift!{namespace}-{admin}"
    text = json.dumps({"username": admin, "password": password})
    secret: Any = secretsmanager.create_secret_in_process(name, text)
    return str(secret["ARN"] if isinstance(secret, dict) else secret)


def _namespace(who: Caller, document: Request) -> Request:
    arn = f"arn:aws:redshift-serverless:{who.region}:{who.account}:namespace/{document['id']}"
    answer = {
        "namespaceArn": arn,
        "namespaceId": document["id"],
        "namespaceName": document["name"],
        "adminUsername": document["admin"],
        "dbName": document["database"],
        "iamRoles": [
            f"IamRole(applyStatus=in-sync, iamRoleArn={arn})" for arn in document["roles"]
        ],
        "kmsKeyId": document["kmsKeyId"],
        "logExports": [],
        "status": "AVAILABLE",
        "creationDate": document["created"],
    }
    if document["defaultRole"]:
        answer["defaultIamRoleArn"] = document["defaultRole"]
    if document["secret"]:
        answer["adminPasswordSecretArn"] = document["secret"]
    return answer


def get_namespace(who: Caller, request: Request) -> Request:
    """GetNamespace."""
    return {"namespace": _namespace(who, _get(who, "namespaces", request["namespaceName"]))}


def list_namespaces(who: Caller, _request: Request) -> Request:
    """ListNamespaces."""
    found = registry().all("namespaces", who.account, who.region)
    return {"namespaces": [_namespace(who, x) for x in found]}


def update_namespace(who: Caller, request: Request) -> Request:
    """UpdateNamespace: roles and the admin's password."""
    document = _get(who, "namespaces", request["namespaceName"])
    known = registry()
    if "iamRoles" in request or "defaultIamRoleArn" in request:
        asked = {"iamRoles": document["roles"], **request}
        document["roles"], document["defaultRole"] = _roles(who, asked)
    known.put("namespaces", who.account, who.region, document["name"], document)
    warehouse = known.warehouse(document, who.account, who.region)
    if password := request.get("adminUserPassword"):
        warehouse.set_admin(document["admin"], str(password))
    return {"namespace": _namespace(who, document)}


def delete_namespace(who: Caller, request: Request) -> Request:
    """DeleteNamespace: one that no workgroup uses."""
    document = _get(who, "namespaces", request["namespaceName"])
    known = registry()
    users = [
        x["name"]
        for x in known.all("workgroups", who.account, who.region)
        if x["namespace"] == document["name"]
    ]
    if users:
        raise ApiError(
            "ConflictException", f"Workgroup {users[0]} uses namespace {document['name']}."
        )
    answer = {"namespace": {**_namespace(who, document), "status": "DELETING"}}
    known.remove("namespaces", who.account, who.region, document["name"])
    return answer


def create_workgroup(who: Caller, request: Request) -> Request:
    """CreateWorkgroup."""
    name = _name(request, "workgroupName")
    namespace = _get(who, "namespaces", str(request.get("namespaceName", "")))
    known = registry()
    if known.get("workgroups", who.account, who.region, name):
        raise ApiError("ConflictException", f"The workgroup {name} already exists.")
    taken = [
        x
        for x in known.all("workgroups", who.account, who.region)
        if x["namespace"] == namespace["name"]
    ]
    if taken:
        raise ApiError("ConflictException", f"Namespace {namespace['name']} has a workgroup.")
    document = {
        "id": str(uuid.uuid4()),
        "name": name,
        "namespace": namespace["name"],
        "created": _now(),
        "baseCapacity": int(request.get("baseCapacity") or 128),
        "subnetIds": request.get("subnetIds") or [],
        "securityGroupIds": request.get("securityGroupIds") or [],
        "publiclyAccessible": bool(request.get("publiclyAccessible")),
        "enhancedVpcRouting": bool(request.get("enhancedVpcRouting")),
        "tags": request.get("tags") or [],
    }
    known.put("workgroups", who.account, who.region, name, document)
    return {"workgroup": _workgroup(who, document)}


def _workgroup(who: Caller, document: Request) -> Request:
    base = f"arn:aws:redshift-serverless:{who.region}:{who.account}"
    address = f"{document['name']}.{who.account}.{who.region}.redshift-serverless.amazonaws.com"
    kept = ("baseCapacity", "subnetIds", "securityGroupIds", "publiclyAccessible")
    return {
        "workgroupArn": f"{base}:workgroup/{document['id']}",
        "workgroupId": document["id"],
        "workgroupName": document["name"],
        "namespaceName": document["namespace"],
        "status": "AVAILABLE",
        "creationDate": document["created"],
        "endpoint": {"address": address, "port": PORT, "vpcEndpoints": []},
        "port": PORT,
        "configParameters": [],
        "enhancedVpcRouting": document["enhancedVpcRouting"],
        **{key: document[key] for key in kept},
    }


def get_workgroup(who: Caller, request: Request) -> Request:
    """GetWorkgroup."""
    return {"workgroup": _workgroup(who, _get(who, "workgroups", request["workgroupName"]))}


def list_workgroups(who: Caller, _request: Request) -> Request:
    """ListWorkgroups."""
    found = registry().all("workgroups", who.account, who.region)
    return {"workgroups": [_workgroup(who, x) for x in found]}


def delete_workgroup(who: Caller, request: Request) -> Request:
    """DeleteWorkgroup."""
    document = _get(who, "workgroups", request["workgroupName"])
    registry().remove("workgroups", who.account, who.region, document["name"])
    return {"workgroup": {**_workgroup(who, document), "status": "DELETING"}}


def get_credentials(who: Caller, request: Request) -> Request:
    """GetCredentials: a database user and password of the caller's IAM identity."""
    workgroup = _get(who, "workgroups", str(request.get("workgroupName", "")))
    namespace = _get(who, "namespaces", workgroup["namespace"])
    registry().warehouse(namespace, who.account, who.region).federate(
        who.db_user, list(who.db_roles)
    )
    seconds = int(request.get("durationSeconds") or CREDENTIAL_SECONDS)
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "dbUser": who.db_user,
        "dbPassword": secrets.token_urlsafe(32),
        "expiration": expires.timestamp(),
        "nextRefreshTime": expires.timestamp(),
    }


def _tagged(who: Caller, request: Request) -> tuple[str, Request]:
    arn = str(request.get("resourceArn", ""))
    for kind in ("namespaces", "workgroups"):
        for document in registry().all(kind, who.account, who.region):
            if arn.endswith(f":{kind[:-1]}/{document['id']}"):
                return kind, document
    raise ApiError("ResourceNotFoundException", f"{arn} was not found.")


def list_tags(who: Caller, request: Request) -> Request:
    """ListTagsForResource."""
    return {"tags": _tagged(who, request)[1]["tags"]}


def tag(who: Caller, request: Request) -> Request:
    """TagResource."""
    kind, document = _tagged(who, request)
    new = request.get("tags") or []
    keys = {x["key"] for x in new}
    document["tags"] = [x for x in document["tags"] if x["key"] not in keys] + new
    registry().put(kind, who.account, who.region, document["name"], document)
    return {}


def untag(who: Caller, request: Request) -> Request:
    """UntagResource."""
    kind, document = _tagged(who, request)
    gone = set(request.get("tagKeys") or [])
    document["tags"] = [x for x in document["tags"] if x["key"] not in gone]
    registry().put(kind, who.account, who.region, document["name"], document)
    return {}


OPERATIONS: Mapping[str, Callable[[Caller, Request], Request]] = {
    "CreateNamespace": create_namespace,
    "GetNamespace": get_namespace,
    "ListNamespaces": list_namespaces,
    "UpdateNamespace": update_namespace,
    "DeleteNamespace": delete_namespace,
    "CreateWorkgroup": create_workgroup,
    "GetWorkgroup": get_workgroup,
    "ListWorkgroups": list_workgroups,
    "DeleteWorkgroup": delete_workgroup,
    "GetCredentials": get_credentials,
    "ListTagsForResource": list_tags,
    "TagResource": tag,
    "UntagResource": untag,
}
