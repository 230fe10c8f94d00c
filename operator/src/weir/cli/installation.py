"""As which cluster, and with which code, does the operator look after a Platform?

A plan has to name resources as the operator does. Whoever plans rarely has the operator's flags and
its build at hand, and needs neither: both can be read off what the Platform has on AWS.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from weir.aws.registry import adapters
from weir.aws.session import AwsSession
from weir.kube.client import Object
from weir.reconcile.apply import Entry
from weir.reconcile.look import Halt
from weir.reconcile.services import Options
from weir.reconcile.steps import platform_entries

DEFAULTS = Options(cluster="", artifacts="")
CODE, TRIGGER = "code-", "trigger"
"""The Platform's logical ids of code and of the function that shows what functions run on."""


@contextmanager
def installation(
    platform: Object, session: AwsSession, cluster: str | None, artifacts: Path | None
) -> Iterator[Options]:
    """The operator's options, as far as a plan depends on them.

    Parameters
    ----------
    platform
        The Platform's object; its status says what it has.
    cluster
        The cluster's id; None reads it off the path of the Platform's roles.
    artifacts
        The build's folder; None takes the code that is on AWS.

    Raises
    ------
    Halt
        The Platform has nothing on AWS yet, and ``cluster`` or ``artifacts`` is None.
    AwsError
        AWS can't be read.
    """
    entries = platform_entries(platform)
    name = str(platform["metadata"]["name"])
    runtime, architecture = _runs_on(entries, session)
    with tempfile.TemporaryDirectory(prefix="weir-plan-") as folder:
        if artifacts is None:
            index = _deployed(entries, session, name)
            Path(folder, "artifacts.json").write_text(json.dumps(index))
        yield Options(
            cluster=cluster or _cluster(entries, name),
            artifacts=str(artifacts or folder),
            runtime=runtime,
            architecture=architecture,
        )


def _cluster(entries: Mapping[str, Entry], platform: str) -> str:
    for entry in entries.values():
        if entry.kind == "iam.Role" and ":role/weir/" in entry.arn:
            return entry.arn.partition(":role/weir/")[2].partition("/")[0]
    raise Halt(
        "UnknownCluster",
        f"Platform {platform} has no roles yet that tell the cluster's id: give the operator's "
        "with --cluster-id or WEIR_CLUSTER_ID",
    )


def _deployed(
    entries: Mapping[str, Entry], session: AwsSession, platform: str
) -> dict[str, dict[str, str]]:
    """The index of artifacts, from the objects that the operator put into the artifacts bucket."""
    names = [
        entry.name
        for entry in entries.values()
        if entry.kind == "s3.Object" and entry.id.startswith(CODE)
    ]
    seen = adapters(session)["s3.Object"].observe(names) if names else {}
    index = {}
    for uri, observed in seen.items():
        file = uri.rpartition("/")[2]
        digest = observed.properties.get("Sha256")
        if digest:
            index[file.rpartition("-")[0]] = {
                "file": file,
                "sha256": digest,
                "codeSha256": base64.b64encode(bytes.fromhex(digest)).decode(),
            }
    if not index:
        raise Halt(
            "UnknownCode",
            f"Platform {platform} has no code on AWS yet: give the folder of the operator's build "
            "with --artifacts or WEIR_ARTIFACTS",
        )
    return index


def _runs_on(entries: Mapping[str, Entry], session: AwsSession) -> tuple[str, str]:
    """Runtime and architecture of the functions."""
    entry = entries.get(TRIGGER)
    seen = adapters(session)["lambda.Function"].observe([entry.name]) if entry else {}
    if entry is None or entry.name not in seen:
        return DEFAULTS.runtime, DEFAULTS.architecture
    properties = seen[entry.name].properties
    architectures = properties.get("Architectures") or [DEFAULTS.architecture]
    return str(properties.get("Runtime") or DEFAULTS.runtime), str(architectures[0])
