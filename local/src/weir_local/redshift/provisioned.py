"""Provisioned Redshift clusters, in AWS's query protocol.

https://docs.aws.amazon.com/redshift/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs
from xml.etree.ElementTree import Element, SubElement, tostring

from weir_local.redshift.authorization import ApiError, Caller, caller, cluster_arn, require
from weir_local.redshift.warehouses import new_warehouse, registry

XML_NAMESPACE = "http://redshift.amazonaws.com/doc/2012-12-01/"
IDENTIFIER = re.compile(r"^[a-z](?!.*--)[a-z0-9-]{0,61}[a-z0-9]$")
PORT = 5439

Request = dict[str, str]
Document = dict[str, Any]


async def handle_request(
    _method: str, _path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """Answer one request of the query protocol."""
    given = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    request = {key: values[0] for key, values in given.items()}
    request |= {key: x[0] if isinstance(x, list) else str(x) for key, x in query.items()}
    action = request.get("Action", "")
    heads = {"Content-Type": "text/xml"}
    try:
        operation = OPERATIONS.get(action)
        if operation is None:
            raise ApiError("InvalidAction", f"The action {action} is not known here.")
        content = operation(caller(headers, query), request)
    except ApiError as problem:
        root = Element("ErrorResponse", xmlns=XML_NAMESPACE)
        error = SubElement(root, "Error")
        for tag, text in (("Type", "Sender"), ("Code", problem.code), ("Message", problem.message)):
            SubElement(error, tag).text = text
        SubElement(root, "RequestId").text = str(uuid.uuid4())
        return problem.status, heads, tostring(root)
    root = Element(f"{action}Response", xmlns=XML_NAMESPACE)
    _write(SubElement(root, f"{action}Result"), content)
    SubElement(SubElement(root, "ResponseMetadata"), "RequestId").text = str(uuid.uuid4())
    return 200, heads, tostring(root)


def _write(parent: Element, content: Mapping[str, Any]) -> None:
    for key, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            child = SubElement(parent, key)
            if isinstance(item, Mapping):
                _write(child, item)
            elif isinstance(item, bool):
                child.text = "true" if item else "false"
            else:
                child.text = str(item)


def _get(who: Caller, request: Request) -> Document:
    name = request.get("ClusterIdentifier", "")
    found = registry().get("clusters", who.account, who.region, name)
    if found is None:
        raise ApiError("ClusterNotFound", f"Cluster {name} not found.", 404)
    return found


def _listed(request: Request, name: str) -> list[str]:
    pattern = re.compile(rf"^{name}\.[^.]+\.(\d+)$")
    found = [(int(m[1]), value) for key, value in request.items() if (m := pattern.match(key))]
    return [value for _, value in sorted(found)]


def _tags(request: Request) -> list[dict[str, str]]:
    numbers = sorted(
        {m[1] for key in request if (m := re.match(r"^Tags\.[^.]+\.(\d+)\.Key$", key))}, key=int
    )
    prefix = "Tags.Tag" if any(key.startswith("Tags.Tag.") for key in request) else "Tags.member"
    return [
        {"Key": request[f"{prefix}.{n}.Key"], "Value": request.get(f"{prefix}.{n}.Value", "")}
        for n in numbers
    ]


def create(who: Caller, request: Request) -> Document:
    """CreateCluster."""
    name = request.get("ClusterIdentifier", "")
    if not IDENTIFIER.match(name):
        raise ApiError("InvalidParameterValue", f"ClusterIdentifier {name!r} is not valid.")
    known = registry()
    if known.get("clusters", who.account, who.region, name):
        raise ApiError("ClusterAlreadyExists", f"Cluster {name} already exists.")
    roles = _listed(request, "IamRoles")
    for arn in roles:
        require(who, "iam:PassRole", arn)
    admin = request.get("MasterUsername", "").lower()
    password = request.get("MasterUserPassword", "")
    if not admin or not password:
        raise ApiError("MissingParameter", "MasterUsername and MasterUserPassword are required.")
    default = request.get("DefaultIamRoleArn", "")
    document = new_warehouse(name, admin, request.get("DBName") or "dev", roles, default)
    document |= {
        "nodeType": request.get("NodeType", "ra3.large"),
        "nodes": int(request.get("NumberOfNodes") or 1),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "tags": _tags(request),
    }
    known.put("clusters", who.account, who.region, name, document)
    known.warehouse(document, who.account, who.region).set_admin(admin, password)
    return {"Cluster": _cluster(who, document)}


def _cluster(who: Caller, document: Document, status: str = "available") -> Document:
    name = document["name"]
    address = f"{name}.local.{who.region}.redshift.amazonaws.com"
    return {
        "ClusterIdentifier": name,
        "NodeType": document["nodeType"],
        "ClusterStatus": status,
        "ClusterAvailabilityStatus": "Available",
        "MasterUsername": document["admin"],
        "DBName": document["database"],
        "Endpoint": {"Address": address, "Port": PORT},
        "ClusterCreateTime": document["created"],
        "NumberOfNodes": document["nodes"],
        "PubliclyAccessible": False,
        "Encrypted": True,
        "EnhancedVpcRouting": False,
        "IamRoles": {
            "ClusterIamRole": [
                {"IamRoleArn": arn, "ApplyStatus": "in-sync"} for arn in document["roles"]
            ]
        },
        "DefaultIamRoleArn": document["defaultRole"],
        "Tags": {"Tag": document["tags"]},
        "ClusterNamespaceArn": f"arn:aws:redshift:{who.region}:{who.account}:namespace:{document['warehouse']}",
    }


def describe(who: Caller, request: Request) -> Document:
    """DescribeClusters."""
    if request.get("ClusterIdentifier"):
        found = [_get(who, request)]
    else:
        found = registry().all("clusters", who.account, who.region)
    return {"Clusters": {"Cluster": [_cluster(who, x) for x in found]}}


def delete(who: Caller, request: Request) -> Document:
    """DeleteCluster, without a final snapshot."""
    document = _get(who, request)
    if request.get("SkipFinalClusterSnapshot", "false") != "true":
        raise ApiError(
            "InvalidParameterCombination",
            "The local Redshift takes no snapshots; say SkipFinalClusterSnapshot.",
        )
    answer = {"Cluster": _cluster(who, document, "deleting")}
    registry().remove("clusters", who.account, who.region, document["name"])
    return answer


def modify_roles(who: Caller, request: Request) -> Document:
    """ModifyClusterIamRoles."""
    document = _get(who, request)
    added = _listed(request, "AddIamRoles")
    for arn in added:
        require(who, "iam:PassRole", arn)
    removed = set(_listed(request, "RemoveIamRoles"))
    kept = [arn for arn in document["roles"] if arn not in removed]
    document["roles"] = kept + [arn for arn in added if arn not in kept]
    document["defaultRole"] = request.get("DefaultIamRoleArn", document["defaultRole"])
    registry().put("clusters", who.account, who.region, document["name"], document)
    return {"Cluster": _cluster(who, document)}


def credentials(who: Caller, request: Request) -> Document:
    """GetClusterCredentials: a temporary password of a database user."""
    document = _get(who, request)
    name = request.get("DbUser", "").lower()
    warehouse = registry().warehouse(document, who.account, who.region)
    create_it = request.get("AutoCreate", "false") == "true"
    if create_it:
        arn = f"arn:aws:redshift:{who.region}:{who.account}:dbuser:{document['name']}/{name}"
        require(who, "redshift:CreateClusterUser", arn)
        if warehouse.user(name) is None:
            warehouse.federate(name, [])
    prefix = "IAMA" if create_it else "IAM"
    return _credentials(f"{prefix}:{name}", request)


def credentials_with_iam(who: Caller, request: Request) -> Document:
    """GetClusterCredentialsWithIAM: of the user that stands for the caller's IAM identity."""
    document = _get(who, request)
    warehouse = registry().warehouse(document, who.account, who.region)
    warehouse.federate(who.db_user, list(who.db_roles))
    return _credentials(who.db_user, request)


def _credentials(user: str, request: Request) -> Document:
    seconds = int(request.get("DurationSeconds") or 900)
    if not 900 <= seconds <= 3_600:
        raise ApiError("InvalidParameterValue", "DurationSeconds has to be between 900 and 3600.")
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "DbUser": user,
        "DbPassword": secrets.token_urlsafe(32),
        "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }


OPERATIONS: Mapping[str, Callable[[Caller, Request], Document]] = {
    "CreateCluster": create,
    "DescribeClusters": describe,
    "DeleteCluster": delete,
    "ModifyClusterIamRoles": modify_roles,
    "GetClusterCredentials": credentials,
    "GetClusterCredentialsWithIAM": credentials_with_iam,
}

__all__ = ["OPERATIONS", "cluster_arn", "handle_request"]
