"""``python -m weir_local.cluster.podrunner``: run a cluster's pods until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import threading
import time
from pathlib import Path

from weir_local.cluster import images
from weir_local.cluster.api import Api, ApiError
from weir_local.cluster.podrunner import kubelet, node
from weir_local.cluster.podrunner.runner import Runner, wait_for_api


def main() -> None:
    """Read the arguments, register the node, and follow the pods."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("kubeconfig", "images", "directory", "certificate", "key", "authority"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="for kubectl logs")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    api = Api(options.kubeconfig)
    version = wait_for_api(api, stop)
    runner = Runner(api, images.read(options.images), options.directory)
    logs = kubelet.server(
        options.port, options.certificate, options.key, options.authority, runner.log
    )
    threading.Thread(target=logs.serve_forever, daemon=True).start()
    register(api, options.port, version, stop)
    threading.Thread(
        target=node.keep_alive, args=(api, options.port, version, stop), daemon=True
    ).start()
    threading.Thread(target=run, args=(runner, stop), daemon=True).start()
    stop.wait()
    runner.stop()


def run(runner: Runner, stop: threading.Event) -> None:
    """Follow the pods; should that ever fail, the process ends instead of idling."""
    try:
        runner.run()
    finally:
        stop.set()


def register(api: Api, port: int, version: str, stop: threading.Event) -> None:
    """Register the node, again and again until the API server has its namespaces."""
    while not stop.is_set():
        try:
            node.register(api, port, version)
        except ApiError as error:
            print(f"the node is not registered yet: {error}", flush=True)
            time.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    main()
