"""Everything that ``make up`` starts: a cluster, a local AWS, the operator by Helm, a Platform."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from weir_local.aws import bootstrap, process, sparkjars
from weir_local.aws.server import LOOPBACK, SMTP_PORT_FILE, EndpointSession
from weir_local.cluster import Cluster, Image, choose, environment, run
from weir_local.cluster.ports import free_port
from weir_local.cluster.processes import Processes
from weir_local.kafka import Broker, broker_environment
from weir_local.kafka import warm as warm_kafka

ROOT = Path(__file__).resolve().parents[3]
CLUSTER_ID = "local"
REGION = "us-east-1"
NAMESPACE = "weir-system"
PLATFORM = "default"
ARTIFACTS = ROOT / "dist" / "artifacts"
BOUNDARY = "weir-boundary"
BOUNDARY_FILE = "boundary"
EXAMPLE_STATE, SERVER = "demo", "server"
"""Where the demo keeps its HTTP server's record, and the server's name there."""
KAFKA_CLUSTER = "weir-local"
READY_SECONDS = 180

Report = Callable[[str, float], None]


class StackError(RuntimeError):
    """The stack does not come up; the text says what failed and where its log is."""


@dataclass
class Stack:
    """The local default in one state directory.

    Parameters
    ----------
    state
        Directory of everything it writes.
    report
        Told each step's name and seconds.
    kafka
        Whether :meth:`up` starts an Apache Kafka broker too.
    """

    state: Path
    report: Report = lambda _step, _seconds: None
    kafka: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.state.absolute()

    @property
    def image(self) -> Image:
        """What stands in for the operator's image where pods are processes: this environment."""
        programs = (str(Path(sys.executable).parent),)
        return Image("*weir*", programs, {"WEIR_ARTIFACTS": str(ARTIFACTS)})

    @property
    def cluster(self) -> Cluster:
        """The cluster: given, kind, or processes on loopback."""
        return choose(self.state / "cluster", pods=(self.image,))

    @property
    def credentials(self) -> dict[str, Any]:
        """What bootstrap wrote: endpoint, region, account, users, warehouse.

        Raises
        ------
        StackError
            Nothing was started.
        """
        try:
            found: dict[str, Any] = json.loads(
                (self.state / "aws" / "credentials.json").read_text()
            )
        except OSError as error:
            raise StackError("nothing is up: run make up") from error
        return found

    def session(self) -> EndpointSession:
        """A boto3 session of the person's user."""
        found = self.credentials
        keys = {key.lower(): value for key, value in found["person"].items()}
        return EndpointSession(found["endpoint"], region_name=found["region"], **keys)

    def environment(self) -> dict[str, str]:
        """The variables of ``env.sh`` over this process's own."""
        return environment(self.cluster, {**os.environ, **self._variables()})

    def up(self) -> None:
        """Start what does not run; a second call changes nothing.

        Raises
        ------
        StackError
            A part did not come up.
        """
        with self._step("artifacts"):
            build_artifacts()
        if not self._has_aws():
            # The local AWS begins empty: what the objects say of an earlier one is of no use.
            self.cluster.forget()
        with ThreadPoolExecutor() as pool:
            cluster = pool.submit(self._timed, "cluster", self._start_cluster)
            aws = pool.submit(self._timed, "local AWS", self._start_aws)
            cluster.result()
            aws.result()
        if self.kafka:
            with self._step("Kafka"):
                self._start_kafka()
        self._write_environment()
        with self._step("operator"):
            self._install()
        with self._step("platform"):
            self._apply_platform()

    def down(self) -> None:
        """End what :meth:`up` started, and only that."""
        Processes(self.state / EXAMPLE_STATE).stop(SERVER)
        Processes(self.state / "operator").stop("operator")
        with self._step("cluster"):
            self.cluster.stop()
        if self.broker.running():
            with self._step("Kafka"):
                self.broker.stop()
        with self._step("local AWS"):
            process.down(self.state / "aws")

    def status(self) -> dict[str, bool]:
        """What runs; Kafka where it was ever asked for."""
        found = {
            self.cluster.name: self.cluster.running(),
            "local AWS": process.read(self.state / "aws") is not None,
        }
        if self.broker.directory.exists():
            found["Kafka"] = self.broker.running()
        return found

    @property
    def broker(self) -> Broker:
        """The Kafka broker of this state directory, whether it runs or not."""
        return Broker(self.state / "kafka")

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl and give what it prints."""
        return run(self.cluster, "kubectl", *arguments, text=text).stdout

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self.report(name, self.seconds[name])

    def _timed(self, name: str, work: Callable[[], None]) -> None:
        with self._step(name):
            work()

    def _start_cluster(self) -> None:
        self.cluster.start()
        self.cluster.wait_ready()

    def _has_aws(self) -> bool:
        """Whether a local AWS runs that was set up to its end."""
        directory = self.state / "aws"
        return process.read(directory) is not None and (directory / "credentials.json").exists()

    def _start_aws(self) -> None:
        for line in sparkjars.warm():
            if line.startswith("downloading"):
                self.report(line, 0)
        if self._has_aws():
            return
        directory = self.state / "aws"
        # Nothing but the warehouse's files would outlive the emulator: a world half there.
        shutil.rmtree(directory, ignore_errors=True)
        record = process.up(directory, region=REGION)
        policies = published_policies(record.account, record.region)
        boundary = policies.pop(BOUNDARY_FILE)
        bootstrap.bootstrap(
            record.endpoint, record.region, directory, policies, {BOUNDARY: boundary}
        )

    def _start_kafka(self) -> None:
        """Start the broker, and make it known to the local AWS as an MSK cluster with secrets."""
        for line in warm_kafka():
            self.report(line, 0)
        broker = self.broker.start()
        session = self.session()
        clusters = session.client("kafka").list_clusters_v2()["ClusterInfoList"]
        if KAFKA_CLUSTER not in [each["ClusterName"] for each in clusters]:
            arn = broker.declare_msk(session, KAFKA_CLUSTER)
            login, authority = broker.secrets(session, f"AmazonMSK_{KAFKA_CLUSTER}-")
            names = ("WEIR_MSK_CLUSTER", "WEIR_KAFKA_LOGIN_SECRET", "WEIR_KAFKA_CA_SECRET")
            made = dict(zip(names, (arn, login, authority), strict=True))
            (broker.directory / "aws.json").write_text(json.dumps(made))

    def _install(self) -> None:
        found = self.credentials
        self._apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": NAMESPACE,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "weir-aws", "namespace": NAMESPACE},
                "stringData": found["operator"],
            },
        )
        values = {
            "clusterId": CLUSTER_ID,
            "replicas": 0 if self.cluster.runs_images else 1,
            "driftInterval": "20s",
            "aws": {
                "region": found["region"],
                "endpointUrl": found["endpoint"],
                "credentialsSecret": "weir-aws",
            },
        }
        run(
            self.cluster,
            "helm", "upgrade", "--install", "weir", str(ROOT / "charts" / "weir"),
            "--namespace", NAMESPACE, "--values", "-", "--wait", "--timeout", f"{READY_SECONDS}s",
            text=json.dumps(values),
        )  # fmt: skip
        if self.cluster.runs_images:
            self._run_operator_here()

    def _run_operator_here(self) -> None:
        """Run the operator as a process of this machine, as the chart's ServiceAccount.

        A container would not reach the local AWS, which listens on loopback alone.
        """
        directory = self.state / "operator"
        directory.mkdir(parents=True, exist_ok=True)
        token = self.kubectl(
            "create", "token", "weir", "--namespace", NAMESPACE, "--duration=24h"
        ).strip()
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        for user in config["users"]:
            user["user"] = {"token": token}
        kubeconfig = directory / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(config))
        found = self.credentials
        settings = {
            "WEIR_CLUSTER_ID": CLUSTER_ID,
            "WEIR_ARTIFACTS": str(ARTIFACTS),
            "WEIR_DRIFT_INTERVAL": "1m",
            "WEIR_LISTEN": f"127.0.0.1:{free_port()}",
            "WEIR_LEASE_NAMESPACE": NAMESPACE,
            # There is one of it at a time: the next goes on with its leases, however it ended.
            "WEIR_POD_UID": "local",
            "AWS_REGION": found["region"],
            "AWS_DEFAULT_REGION": found["region"],
            "AWS_ENDPOINT_URL": found["endpoint"],
            **found["operator"],
        }
        Processes(directory).start(
            "operator",
            [sys.executable, "-m", "weir", "--kubeconfig", str(kubeconfig)],
            {**os.environ, **settings},
        )

    def _apply_platform(self) -> None:
        """Apply it, and wait until this very operator has looked at it and found it ready."""
        asked = uuid.uuid4().hex
        wanted = platform(self.credentials)
        wanted["metadata"]["annotations"] = {"weir.dev/reconcile-at": asked}
        self._apply(wanted)
        for condition in (f"jsonpath={{.status.reconcileAt}}={asked}", "condition=Ready"):
            self.kubectl(
                "wait", f"--for={condition}", f"plat/{PLATFORM}", f"--timeout={READY_SECONDS}s"
            )

    def _apply(self, *objects: Mapping[str, Any]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "-f", "-", text=text)

    def _variables(self) -> dict[str, str]:
        found = self.credentials
        return {
            "AWS_ENDPOINT_URL": found["endpoint"],
            "AWS_REGION": found["region"],
            "AWS_DEFAULT_REGION": found["region"],
            **found["person"],
            "WEIR_QUERY_SECRET": found["redshift"]["adminSecretArn"],
            **self._kafka_variables(),
            "WEIR_SMTP": f"{LOOPBACK}:{(self.state / 'aws' / SMTP_PORT_FILE).read_text()}",
        }

    def _kafka_variables(self) -> dict[str, str]:
        known = self.broker.directory / "aws.json"
        if not self.broker.running() or not known.exists():
            return {}
        made: dict[str, str] = json.loads(known.read_text())
        return {**broker_environment(self.broker), **made}

    def _write_environment(self) -> None:
        path = self.state / "env.sh"
        tools = f"{Path(sys.executable).parent}:{self.cluster.bin_dir}"
        lines = [
            f"export {name}={shlex.quote(value)}"
            for name, value in {
                "KUBECONFIG": str(self.cluster.kubeconfig),
                **self._variables(),
            }.items()
        ]
        path.touch(mode=0o600)
        path.write_text("\n".join([*lines, f"export PATH={shlex.quote(tools)}:$PATH", ""]))


def build_artifacts() -> None:
    """Build the Lambda and Glue artifacts for this machine.

    Raises
    ------
    StackError
        The build failed; the text is what it printed.
    """
    result = subprocess.run(
        [sys.executable, str(ROOT / "lambdas" / "build_artifacts.py"), "--out", str(ARTIFACTS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if result.returncode:
        raise StackError(f"the artifacts were not built: {result.stderr.strip()}")


def published_policies(account: str, region: str) -> dict[str, dict[str, Any]]:
    """The policies of docs/iam with their placeholders filled in, by name.

    The very files that a user attaches: where one lacks an action, this stack fails too.
    """
    values = {
        "ACCOUNT_ID": account,
        "REGION": region,
        "CLUSTER_ID": CLUSTER_ID,
        "WEIR_BOUNDARY": BOUNDARY,
        "VPC_ID": "*",
        "REDSHIFT_ADMIN_SECRET": f"{bootstrap.ADMIN_SECRET}-??????",
    }
    documents = {}
    for file in sorted((ROOT / "docs" / "iam").glob("*.json")):
        text = file.read_text()
        for name, value in values.items():
            text = text.replace(name, value)
        documents[file.stem] = json.loads(text)
    return documents


def platform(found: Mapping[str, Any]) -> dict[str, Any]:
    """The Platform ``default``: everything made by the operator, ready for namespace default."""
    redshift = found["redshift"]
    account = found["account"]
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": PLATFORM},
        "spec": {
            "region": found["region"],
            "accountId": account,
            "endpointUrl": found["endpoint"],
            "permissionsBoundaryArn": f"arn:aws:iam::{account}:policy/{BOUNDARY}",
            "driftInterval": "20s",
            "mail": {"createRuleSet": True},
            "redshift": {
                "workgroup": redshift["workgroupName"],
                "database": redshift["database"],
                "adminSecretArn": redshift["adminSecretArn"],
                "copyRoleArn": redshift["copyRoleArn"],
            },
            "grants": [
                {
                    "namespaces": {"names": ["default"]},
                    "egress": {"allowLoopback": True},
                    "externalArns": [
                        "arn:aws:s3:::weir-example-*",
                        f"arn:aws:workmail:{REGION}:{account}:organization/*",
                    ],
                    "mailRecipients": ["*@weir.example"],
                    "allow": ["adopt", "scripts", "delete"],
                }
            ],
        },
    }


def new_key() -> str:
    """A fresh API key for an example's server."""
    return secrets.token_urlsafe(24)
