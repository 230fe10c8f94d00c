"""A network that leads nowhere, as a Platform names it."""

from __future__ import annotations

from typing import Any


def private_vpc(ec2: Any, region: str, net: str) -> dict[str, Any]:
    """A VPC with DNS, and two subnets in two zones that have no way out.

    :param ec2: a client
    :param net: the first two numbers of its addresses: ``10.9``
    :returns: ``vpcId`` and ``subnetIds``
    """
    vpc = ec2.create_vpc(CidrBlock=f"{net}.0.0/16")["Vpc"]["VpcId"]
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
        ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": True}})
    subnets = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"{net}.{number}.0/24", AvailabilityZone=f"{region}{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("ab")
    ]
    return {"vpcId": vpc, "subnetIds": subnets}
