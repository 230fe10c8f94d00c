"""What of a Platform is in a VPC, and how is it reached there?"""

from __future__ import annotations

from weir.api.v1alpha1.platform import Platform
from weir.blueprint import naming
from weir.blueprint.facts import Arn, NetworkFacts
from weir.resource import Ref

WORKLOADS = "network-group"
"""Logical id of the security group that functions and jobs get where the Platform names none."""
CONNECTION = "network-connection"


def network_facts(platform: Platform, cluster: str, group: Arn) -> NetworkFacts | None:
    """What the blueprint of a Platform's users must know of its VPC; None where it has none.

    Parameters
    ----------
    group
        ARN of the group that Weir makes, or a reference to it where only AWS can tell.
    """
    spec = platform.spec.network
    if spec is None:
        return None
    made = () if spec.security_group_ids else (WORKLOADS,)
    own: Arn = Ref(WORKLOADS, "id") if isinstance(group, Ref) else group.rpartition("/")[2]
    return NetworkFacts(
        vpc=spec.vpc_id,
        subnets=tuple(spec.subnet_ids),
        security_groups=tuple(spec.security_group_ids) or (own,),
        functions=spec.functions,
        jobs=spec.jobs,
        connection=naming.physical("connection", cluster, platform.name, role="network"),
        made=(*made, CONNECTION),
    )
