"""Operator processes, and what they work on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weir.kube.client import Kube
from weir.kube.conditions import find
from weir.kube.election import Terms
from weir.kube.keys import API_VERSION, Key
from weir_local.aws.server import ACCOUNT, free_port
from weir_local.stack import BOUNDARY, CLUSTER_ID, REGION

START_SECONDS = 180
PASSED_ON = ("PATH", "HOME", "PYTHONPATH")
TERMS = Terms(duration=10.0, renew_deadline=8.0, retry_period=0.5)
"""Of the election: short, and yet with room for a busy machine."""


class Process:
    """One operator process."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        environment: dict[str, str],
        name: str = "operator",
    ) -> None:
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}.log"
        variables = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "WEIR_CLUSTER_ID": CLUSTER_ID,
            "WEIR_ARTIFACTS": str(folder),
            "WEIR_LISTEN": f"127.0.0.1:{self.port}",
            "WEIR_DRIFT_INTERVAL": "5s",
            "WEIR_LEASE_DURATION": str(TERMS.duration),
            "WEIR_RENEW_DEADLINE": str(TERMS.renew_deadline),
            "WEIR_RETRY_PERIOD": str(TERMS.retry_period),
            "WEIR_STOP_AFTER": "5s",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SDK_UA_APP_ID": name,
            **environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "weir", "--kubeconfig", str(kubeconfig)],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page; 0 where nothing listens yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def stop(self) -> float:
        """SIGTERM; gives the seconds until it has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - began

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait(what: Callable[[], bool], seconds: float = START_SECONDS) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def ready(kube: Kube, key: Key) -> dict[str, Any]:
    obj = kube.get(key) or {}
    return dict(find(obj.get("status") or {}, "Ready") or {})


def objects(namespace: str, endpoint: str, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    platform = {
        "apiVersion": API_VERSION,
        "kind": "Platform",
        "metadata": {"name": "process"},
        "spec": {
            "region": REGION,
            "accountId": ACCOUNT,
            "endpointUrl": endpoint,
            "permissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}",
            "grants": [{"namespaces": {"names": [namespace]}}],
        },
    }
    wanted = {
        "apiVersion": API_VERSION,
        "kind": "DataSource",
        "metadata": {"name": source, "namespace": namespace},
        "spec": {
            "platform": "process",
            "suspend": True,
            "source": {
                "restApi": {"endpoint": "https://api.example.com/rows", "schedule": "rate(1 hour)"}
            },
            "schema": {"fields": [{"name": "id", "type": "integer"}]},
        },
    }
    return platform, wanted
