"""What the adapters' cases lean on: a role, a bucket with code, queues, and who they belong to."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, replace
from typing import Any

from keyed_tables import KEYED
from weir.aws.calls import Calls, wait_for
from weir.aws.session import AwsSession
from weir.resource import Adapter, Observed, Owner

OWNER = Owner("tests", "DataSource", "team", "orders", "8b6e1c0a")
ACCOUNT = "000000000000"
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def zipped(text: str) -> bytes:
    """A zip of one Python file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), text)
    return buffer.getvalue()


def trust(*services: str) -> dict[str, Any]:
    """A trust policy as the blueprint writes them."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": list(services)},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
            }
        ],
    }


def settled(adapter: Adapter, name: str) -> Observed:
    """What is there, once AWS is done with it."""
    return wait_for(lambda: adapter.observe([name])[name], lambda seen: seen.settled, seconds=10.0)


def steady(seen: Observed) -> Observed:
    """What was seen, less what AWS changes by itself."""
    attributes = {key: text for key, text in seen.attributes.items() if key != "state"}
    return replace(seen, attributes=attributes, settled=True, detail="")


@dataclass(frozen=True)
class World:
    """What must be there before: shared by all cases, never changed by them."""

    session: AwsSession
    role: str
    bucket: str
    code: bytes
    queue: str
    dead: str
    key: str
    vpc: str
    subnets: tuple[str, ...]
    """Three: two of one availability zone, one of another."""
    table: str
    """The route table of all of them."""
    group: str

    def calls(self, service: str) -> Calls:
        """Calls of a service, to meddle."""
        return Calls(self.session, service)

    @classmethod
    def build(cls, session: AwsSession) -> World:
        """Make it."""
        iam, s3, sqs = (Calls(session, name) for name in ("iam", "s3", "sqs"))
        for name in ("world-boundary", "world-managed"):
            iam("CreatePolicy", PolicyName=name, PolicyDocument=json.dumps(EVERYTHING))
        role = iam(
            "CreateRole",
            RoleName="world-role",
            AssumeRolePolicyDocument=json.dumps(
                trust(
                    "lambda.amazonaws.com",
                    "states.amazonaws.com",
                    "scheduler.amazonaws.com",
                    "glue.amazonaws.com",
                )
            ),
        )["Role"]["Arn"]
        iam(
            "PutRolePolicy",
            RoleName="world-role",
            PolicyName="all",
            PolicyDocument=json.dumps(EVERYTHING),
        )
        place = {"LocationConstraint": session.region}
        s3("CreateBucket", Bucket="world-bucket", CreateBucketConfiguration=place)
        code = zipped("def handler(event, context):\n    return event\n")
        s3("PutObject", Bucket="world-bucket", Key="code.zip", Body=code)
        queues = {}
        for name in ("world-queue", "world-dead"):
            url = sqs("CreateQueue", QueueName=name)["QueueUrl"]
            queues[name] = sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn"])[
                "Attributes"
            ]["QueueArn"]
        Calls(session, "glue")("CreateDatabase", DatabaseInput={"Name": "world_db"})
        Calls(session, "dynamodb")(
            "CreateTable",
            TableName="world-table",
            **KEYED,
        )
        Calls(session, "lambda")(
            "CreateFunction",
            FunctionName="world-function",
            Runtime="python3.11",
            Handler="handler.handler",
            Role=role,
            Code={"ZipFile": code},
        )
        users = {"Service": [f"logs.{session.region}.amazonaws.com"]}
        policy = key_policy()
        policy["Statement"].append(
            {"Effect": "Allow", "Principal": users, "Action": "kms:*", "Resource": "*"}
        )
        key = Calls(session, "kms")("CreateKey", Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
        ec2 = Calls(session, "ec2")
        vpc = ec2("CreateVpc", CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
            ec2("ModifyVpcAttribute", VpcId=vpc, **{attribute: {"Value": True}})
        subnets = tuple(
            ec2(
                "CreateSubnet",
                VpcId=vpc,
                CidrBlock=f"10.1.{number}.0/24",
                AvailabilityZone=f"{session.region}{zone}",
            )["Subnet"]["SubnetId"]
            for number, zone in enumerate("aab")
        )
        mine = [{"Name": "vpc-id", "Values": [vpc]}]
        table = ec2("DescribeRouteTables", Filters=mine)["RouteTables"][0]["RouteTableId"]
        group = ec2(
            "CreateSecurityGroup", GroupName="world-group", Description="the world's", VpcId=vpc
        )["GroupId"]
        return cls(
            session,
            role,
            "world-bucket",
            code,
            queues["world-queue"],
            queues["world-dead"],
            key,
            vpc,
            subnets,
            table,
            group,
        )


def key_policy() -> dict[str, Any]:
    """A key policy."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "root",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }
