"""A Platform in a VPC: what its source and Pipeline need is there, runs inside, and goes again."""

from __future__ import annotations

import io
from typing import Any

import pyarrow.parquet as pq
import pytest

from e2e.running import Object, Running, condition, is_ready, named

pytestmark = pytest.mark.e2e

PLATFORM, NAME = "private", "sales/stock"


def network(running: Running) -> Object:
    platform = running.get("plat", PLATFORM)
    assert platform is not None
    found: Object = platform["spec"]["network"]
    return found


def group(running: Running, logical: str) -> str:
    """The id of a security group that the Platform made."""
    return running.resource("plat", PLATFORM, logical)["arn"].rpartition("/")[2]


def rules(running: Running, group_id: str) -> list[Object]:
    """What a security group lets in."""
    (found,) = running.aws("ec2").describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    allowed: list[Object] = found["IpPermissions"]
    return allowed


def bucket(running: Running, zone: str) -> str:
    return running.resource("plat", PLATFORM, f"bucket-{zone}")["name"]


def test_rows_of_a_source_in_the_vpc_are_processed_there(running: Running, private: Object) -> None:
    platform = running.get("plat", PLATFORM)
    assert is_ready(platform), condition(platform, "Ready")
    place, s3 = bucket(running, "processed"), running.aws("s3")
    keys = [
        one["Key"]
        for one in s3.list_objects_v2(Bucket=place, Prefix="stock/")["Contents"]
        if one["Key"].endswith(".parquet")
    ]
    bodies = [s3.get_object(Bucket=place, Key=key)["Body"].read() for key in keys]
    rows = [row for body in bodies for row in pq.read_table(io.BytesIO(body)).to_pylist()]
    assert sorted((str(row["id"]), row["name"]) for row in rows) == [("1", "bolt"), ("2", "nut")]


def test_function_and_job_are_in_the_platforms_subnets_and_group(
    running: Running, private: Object
) -> None:
    wanted, workloads = network(running), group(running, "network-group")
    ingest = running.resource("dsrc", NAME, "ingest")["name"]
    inside = running.aws("lambda").get_function_configuration(FunctionName=ingest)["VpcConfig"]
    assert (inside["VpcId"], set(inside["SubnetIds"])) == (
        wanted["vpcId"],
        set(wanted["subnetIds"]),
    )
    assert inside["SecurityGroupIds"] == [workloads]
    outside = running.resource("plat", PLATFORM, "trigger")["name"]
    settings = running.aws("lambda").get_function_configuration(FunctionName=outside)
    assert not settings.get("VpcConfig", {}).get("SubnetIds")
    (job,) = [
        line["name"]
        for line in running.get("pipe", NAME)["status"]["resources"]
        if line["kind"] == "glue.Job"
    ]
    glue = running.aws("glue")
    (connection,) = glue.get_job(JobName=job)["Job"]["Connections"]["Connections"]
    where = glue.get_connection(Name=connection)["Connection"]["PhysicalConnectionRequirements"]
    assert where["SubnetId"] in wanted["subnetIds"]
    assert where["SecurityGroupIdList"] == [workloads]


def test_each_service_has_the_endpoint_that_the_example_asks_for(
    running: Running, private: Object
) -> None:
    wanted = network(running)
    found: dict[str, Any] = {
        one["ServiceName"].rpartition(".")[2]: one
        for one in running.aws("ec2").describe_vpc_endpoints(
            Filters=[{"Name": "vpc-id", "Values": [wanted["vpcId"]]}]
        )["VpcEndpoints"]
    }
    assert set(found) == set(wanted["endpoints"])
    gateways = {name for name, one in found.items() if one["VpcEndpointType"] == "Gateway"}
    assert gateways == {"s3", "dynamodb"}
    doors = group(running, "network-endpoints")
    for name in set(found) - gateways:
        assert found[name]["PrivateDnsEnabled"], name
        assert [one["GroupId"] for one in found[name]["Groups"]] == [doors], name
    (https,) = rules(running, doors)
    assert (https["FromPort"], https["ToPort"]) == (443, 443)
    sources = [one["GroupId"] for one in https["UserIdGroupPairs"]]
    assert sources == [group(running, "network-group")]


def test_a_rule_that_somebody_added_to_the_endpoints_group_goes_with_an_event(
    running: Running, private: Object
) -> None:
    doors = group(running, "network-endpoints")
    before = rules(running, doors)
    running.aws("ec2").authorize_security_group_ingress(
        GroupId=doors,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 22,
                "ToPort": 22,
                "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
            }
        ],
    )
    assert rules(running, doors) != before
    running.look_again("plat", PLATFORM)
    assert rules(running, doors) == before
    notes = named(running.events("Platform", PLATFORM), "DriftCorrected")
    assert [note for note in notes if "IpPermissions" in note], notes


def test_it_leaves_the_vpc_as_it_was_found(running: Running, private: Object) -> None:
    vpc = network(running)["vpcId"]
    namespace, _, name = NAME.partition("/")
    for kind in ("pipe", "dsrc"):
        running.kubectl("delete", kind, name, "--namespace", namespace, "--timeout=180s")
    s3 = running.stack.session().resource("s3")
    zones = ("raw", "processed", "quarantine", "curated", "artifacts")
    buckets = [s3.Bucket(bucket(running, zone)) for zone in zones]
    for place in buckets:
        place.object_versions.all().delete()
    running.kubectl("delete", "plat", PLATFORM, "--timeout=180s")
    # One that something was still written to is retained, and not what the last test looks for.
    for place in buckets:
        if place.creation_date is not None:
            place.object_versions.all().delete()
            place.delete()
    ec2 = running.aws("ec2")
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    left = ec2.describe_security_groups(Filters=here)["SecurityGroups"]
    assert [one["GroupName"] for one in left] == ["default"]
    assert ec2.describe_network_interfaces(Filters=here)["NetworkInterfaces"] == []
    states = {one["State"] for one in ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]}
    assert states <= {"deleting", "deleted"}
