"""MSK's V2 operations, and clusters with a real broker behind them.

Amazon MSK API Reference V2, "Clusters"; MSK API Reference, "GetBootstrapBrokers". A cluster is made
by CreateClusterV2 as on AWS; two tags tell the local AWS which broker stands behind it:
``weir:bootstrap`` (host:port of its listener with TLS and SASL) and ``weir:ca`` (a file with the
authority's certificate, in the place of Amazon's public one: functions trust it, as on AWS they trust
that). ``weir:iam`` is a listener with TLS and logins by IAM, about which the broker asks back here.
``weir:tls`` is a listener with TLS that wants a client's certificate; without it that with SASL is told
in its place.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from weir_local.aws import runtimes
from weir_local.aws.streams import iamlogins
from weir_local.aws.wire import Handler, Reply, Request

BOOTSTRAP = "weir:bootstrap"
CA = "weir:ca"
IAM = "weir:iam"
TLS = "weir:tls"
PATH = re.compile(r"/api/v2/clusters(?:/(?P<arn>.+))?")
LOGIN, ACCESS = "/weir/brokers/login", "/weir/brokers/access"
"""What the brokers behind clusters ask."""
JSON = {"Content-Type": "application/json"}

Cluster = dict[str, Any]

logger = logging.getLogger("weir.local.aws.msk")


def camel(value: Any) -> Any:
    """A stored structure with the keys' first letters in lower case, as MSK's API has them."""
    if isinstance(value, dict):
        return {
            name if name == "Tags" else name[:1].lower() + name[1:]: camel(each)
            for name, each in value.items()
        }
    return [camel(each) for each in value] if isinstance(value, list) else value


def described(cluster: Cluster) -> dict[str, Any]:
    """A cluster as DescribeClusterV2 and ListClustersV2 tell it."""
    common = ("ClusterArn", "ClusterName", "CreationTime", "CurrentVersion", "State")
    left_out = {*common, "Tags", "ZookeeperConnectString", "ZookeeperConnectStringTls"}
    provisioned = {name: value for name, value in cluster.items() if name not in left_out}
    told = camel({name: cluster[name] for name in common})
    return {
        **told,
        "clusterType": "PROVISIONED",
        "tags": dict(cluster.get("Tags") or {}),
        "provisioned": camel(provisioned),
    }


def ok(answer: dict[str, Any]) -> Reply:
    """A successful reply."""
    return 200, dict(JSON), json.dumps(answer).encode()


def create(given: dict[str, Any]) -> Reply:
    """CreateClusterV2 of a provisioned cluster."""
    from ministack.services import msk

    provisioned = given.get("provisioned")
    if not isinstance(provisioned, dict):
        return tuple(msk._bad_request("The local AWS makes provisioned clusters: give Provisioned"))
    body = {"clusterName": given.get("clusterName"), "tags": given.get("tags") or {}}
    code, headers, answer = msk._create_cluster(json.dumps({**provisioned, **body}).encode())
    if code != 200:
        return code, headers, answer
    trust()
    found = camel(json.loads(answer))
    return ok({**found, "clusterType": "PROVISIONED"})


def trust() -> None:
    """Have functions trust the clusters' authorities besides those of this machine."""
    from ministack.services import msk

    public = ssl.get_default_verify_paths().cafile
    files = [
        *([public] if public else []),
        *sorted({tags[CA] for tags in msk._tags.values() if CA in tags}),
    ]
    text = "\n".join(Path(file).read_text() for file in files if Path(file).exists())
    found = runtimes.authorities()
    made = found.with_suffix(".new")
    made.write_text(text)
    made.replace(found)


def bootstrap_brokers(inner: Any) -> Any:
    """GetBootstrapBrokers of a cluster with a broker behind it names that."""

    def brokers(arn: str) -> Reply:
        from ministack.services import msk

        server = (msk._tags.get(arn) or {}).get(BOOTSTRAP)
        if not server:
            return tuple(inner(arn))
        told = {
            "bootstrapBrokerStringSaslScram": server,
            "bootstrapBrokerStringTls": msk._tags[arn].get(TLS) or server,
        }
        by_iam = msk._tags[arn].get(IAM)
        return ok(told | ({"bootstrapBrokerStringSaslIam": by_iam} if by_iam else {}))

    return brokers


def server(arn: str, listener: str = BOOTSTRAP) -> tuple[str, str] | None:
    """The bootstrap server of a cluster and its authority's certificate as PEM, None without.

    :param listener: which one, by its tag
    """
    from ministack.services import msk

    tags = msk._tags.get(arn) or {}
    if arn not in msk._clusters or not tags.get(BOOTSTRAP):
        return None
    if not tags.get(listener):
        return None
    file = tags.get(CA)
    return str(tags[listener]), Path(file).read_text() if file else ""


def asked(path: str, query: dict[str, list[str]], body: bytes) -> Reply:
    """What a broker asks about a login, or about what its principal may do."""
    from ministack.core.responses import request_scope

    given = {name: values[0] for name, values in query.items()}
    cluster = given["cluster"]
    region, account = cluster.split(":")[3:5]
    with request_scope(account, region):
        if path == ACCESS:
            question = (given["key"], given["action"], given["kind"], given["name"])
            denied = iamlogins.access_denial(*question, cluster)
            return (403, {}, denied.encode()) if denied else (200, {}, b"")
        try:
            key, end = iamlogins.enter(body, cluster, datetime.now(UTC))
        except iamlogins.Refused as refused:
            logger.warning("a login to %s is refused: %s", cluster, refused)
            return 403, {}, str(refused).encode()
        return 200, {}, f"{key} {int(end.timestamp() * 1000)}".encode()


def with_v2(inner: Handler) -> Handler:
    """The service with the operations of V2."""

    async def handler(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        from ministack.services import msk

        if path in (LOGIN, ACCESS):
            return asked(path, query, body)
        match = PATH.fullmatch(unquote(path))
        if match is None:
            return await inner(method, path, headers, body, query)
        arn = match.group("arn")
        if arn is None and method == "POST":
            return create(Request("kafka", method, path, headers, body, query).json)
        if arn is None:
            prefix = (query.get("clusterNameFilter") or [""])[0]
            found = list(msk._clusters.values())
            listed = [described(each) for each in found if each["ClusterName"].startswith(prefix)]
            return ok({"clusterInfoList": listed})
        refused = msk._validate_existing_cluster_arn(arn)
        return tuple(refused) if refused else ok({"clusterInfo": described(msk._clusters[arn])})

    return handler


def install() -> None:
    """Add V2, and the brokers behind clusters."""
    from ministack import app
    from ministack.services import msk

    if not runtimes.authorities().exists():
        trust()

    msk._get_bootstrap_brokers = bootstrap_brokers(msk._get_bootstrap_brokers)
    app.SERVICE_HANDLERS["kafka"] = with_v2(app.SERVICE_HANDLERS["kafka"])
