"""The local AWS as a process: serve it here, or start and stop one of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import boto3

ACCOUNT = "000000000000"
REGION = "us-east-1"
LOOPBACK = "127.0.0.1"
SMTP_PORT_FILE = "smtp-port"
"""In the state directory: on which port of loopback mails are taken."""
START_SECONDS = 60.0
"""How long a start may take before it counts as failed."""

HOST_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)
"""Whatever names a real account on this machine: never seen by the local AWS or its functions."""


class StartFailed(Exception):
    """The local AWS did not come up; the message names its log."""


class EndpointSession(boto3.Session):
    """A boto3 session whose clients talk to one endpoint."""

    def __init__(self, endpoint: str, **kwargs: Any) -> None:
        """:param endpoint: the local AWS's URL; the rest as :class:`boto3.Session`."""
        super().__init__(**kwargs)
        self.endpoint = endpoint

    def client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`boto3.Session.client`, against the endpoint."""
        kwargs.setdefault("endpoint_url", self.endpoint)
        return super().client(service_name, *args, **kwargs)  # type: ignore[call-overload]

    def resource(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`boto3.Session.resource`, against the endpoint."""
        kwargs.setdefault("endpoint_url", self.endpoint)
        return super().resource(service_name, *args, **kwargs)  # type: ignore[call-overload]


def environment(
    port: int, state: Path, account: str, region: str, persist: bool = False
) -> dict[str, str]:
    """The variables that MiniStack reads when it is imported.

    :param port: where it will listen on loopback
    :param state: the directory for what it writes
    :param account: 12 digits
    :param region: the region of callers that name none
    :param persist: whether what it holds outlives it
    """
    kept = "1" if persist else "0"
    return {
        "AUTH": "true",
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "localhost",
        "MINISTACK_ACCOUNT_ID": account,
        "MINISTACK_REGION": region,
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PERSIST_STATE": kept,
        "S3_PERSIST": kept,
        "STATE_DIR": str(state / "ministack"),
        "S3_DATA_DIR": str(state / "s3"),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_WARM_TTL_SECONDS": "900",
        "LOG_LEVEL": os.environ.get("WEIR_LOCAL_LOG_LEVEL", "WARNING"),
        "WEIR_LOCAL_STATE": str(state),
    }


def serve(
    port: int, state: Path, account: str = ACCOUNT, region: str = REGION, persist: bool = False
) -> None:
    """Serve the local AWS on loopback until SIGTERM or SIGINT.

    :param port: where to listen
    :param state: a directory for what it writes
    :param account: 12 digits
    :param region: the region of callers that name none
    :param persist: whether what it holds is there again when it is served anew
    """
    state.mkdir(parents=True, exist_ok=True)
    for name in HOST_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(environment(port, state, account, region, persist))

    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack import app

    from weir_local.aws import mends

    mends.install()
    for name in ("botocore", "boto3", "urllib3", "hypercorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    config = Config()
    config.bind = [f"{LOOPBACK}:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 2
    config.loglevel = "WARNING"

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        async def stopped() -> None:
            await stop.wait()

        await hypercorn_serve(app.app, config, shutdown_trigger=stopped)

    try:
        asyncio.run(run())
    finally:
        mends.uninstall()
        logging.shutdown()
    # Worker threads of finished requests may still wait on calls that nobody will answer.
    os._exit(0)


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def healthy(endpoint: str) -> bool:
    """Whether a local AWS answers at an endpoint."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def command(port: int, state: Path, account: str, region: str, persist: bool = False) -> list[str]:
    """The command line that serves a local AWS."""
    return [
        sys.executable,
        "-m",
        "weir_local.aws",
        *("--port", str(port)),
        *("--state", str(state)),
        *("--account", account),
        *("--region", region),
        *(("--persist",) if persist else ()),
    ]


def wait_healthy(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    """Wait until a started process answers.

    :raises StartFailed: it ended, or did not answer in time
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
            raise StartFailed(
                f"the local AWS ended with {process.returncode}; its log is {log}:\n{tail}"
            )
        if healthy(endpoint):
            return
        time.sleep(0.05)
    process.kill()
    raise StartFailed(
        f"the local AWS did not answer at {endpoint} in {START_SECONDS:.0f} s; see {log}"
    )


class LocalAws:
    """A local AWS of one's own, in a child process on loopback.

    ``with LocalAws(tmp_path) as aws: aws.admin_session().client("s3").list_buckets()``

    It keeps no spare Spark driver: a job's first run waits for its own.
    """

    def __init__(
        self,
        state_dir: Path | str,
        port: int = 0,
        account: str = ACCOUNT,
        region: str = REGION,
        persist: bool = False,
    ) -> None:
        """:param state_dir: its directory; logs are in ``aws.log`` there
        :param port: where it listens on loopback; 0 takes a free one
        :param account: 12 digits
        :param region: the region of callers that name none
        :param persist: whether what it holds is there again after :meth:`stop`, :meth:`start`
        """
        self.persist = persist
        self.state = Path(state_dir).resolve()
        self.account = account
        self.region = region
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The URL for ``endpoint_url`` and AWS_ENDPOINT_URL."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def smtp_port(self) -> int:
        """Where it takes mails, on loopback."""
        return int((self.state / SMTP_PORT_FILE).read_text())

    @property
    def log(self) -> Path:
        """The file with what the process prints."""
        return self.state / "aws.log"

    def command(self) -> list[str]:
        """The command line of the process."""
        return command(self.port, self.state, self.account, self.region, self.persist)

    def start(self) -> Self:
        """Start it and wait until it answers.

        :raises StartFailed: it did not come up
        """
        self.state.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "WEIR_LOCAL_SPARE_DRIVER": "0"},
            )
        wait_healthy(self._process, self.endpoint, self.log)
        return self

    def stop(self) -> None:
        """End it, and with it the functions and jobs that it runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def admin(self) -> dict[str, str]:
        """The account root's boto3 keyword arguments: no policy limits it."""
        return {
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "region_name": self.region,
            "endpoint_url": self.endpoint,
        }

    def admin_session(self) -> EndpointSession:
        """A session of the account root."""
        return self.session(self.admin())

    def session(self, keywords: dict[str, str]) -> EndpointSession:
        """A session made of boto3 keyword arguments, such as :meth:`principal` gives."""
        arguments = {name: value for name, value in keywords.items() if name != "endpoint_url"}
        return EndpointSession(self.endpoint, **arguments)

    def principal(
        self,
        policy: dict[str, Any] | list[dict[str, Any]],
        name: str | None = None,
        boundary: str | None = None,
    ) -> dict[str, str]:
        """A new IAM user that may do what a policy says.

        :param policy: the policy document, or several
        :param name: the user's name; a new one by default
        :param boundary: the ARN of a permissions boundary
        :returns: keyword arguments for ``boto3.client``, endpoint and region included
        """
        iam = self.admin_session().client("iam")
        user = name or f"test-{secrets.token_hex(4)}"
        extra = {"PermissionsBoundary": boundary} if boundary else {}
        iam.create_user(UserName=user, **extra)
        for number, document in enumerate(policy if isinstance(policy, list) else [policy]):
            iam.put_user_policy(
                UserName=user, PolicyName=f"policy-{number}", PolicyDocument=json.dumps(document)
            )
        key = iam.create_access_key(UserName=user)["AccessKey"]
        return {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
            "region_name": self.region,
            "endpoint_url": self.endpoint,
        }
