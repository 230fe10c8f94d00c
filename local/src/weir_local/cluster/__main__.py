"""``python -m weir_local.cluster up|down|status|build --state DIR``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from weir_local.cluster import ClusterError, ControlPlane, Image, choose, toolchain


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 when done; 1 on an error, or for ``status`` when the cluster does not run.
    """
    parser = argparse.ArgumentParser(prog="python -m weir_local.cluster", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status", "build"))
    parser.add_argument("--state", type=Path, default=Path(".local/cluster"))
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="PATTERN=DIRECTORY",
        help="run pods whose image fits PATTERN with the programs of DIRECTORY",
    )
    options = parser.parse_args(arguments)
    try:
        pods = [_image(text) for text in options.image]
        cluster = choose(options.state, pods=pods)
        match options.action:
            case "build":
                for name, path in toolchain.programs(os.environ).items():
                    print(f"{name}: {path}")
            case "up":
                started = time.monotonic()
                cluster.start()
                cluster.wait_ready()
                print(f"{cluster.name}: ready after {time.monotonic() - started:.1f} s")
                print(f"export KUBECONFIG={cluster.kubeconfig} PATH={cluster.bin_dir}:$PATH")
            case "down":
                cluster.stop()
            case _:
                if isinstance(cluster, ControlPlane):
                    for name, runs in cluster.status().items():
                        print(f"{name}: {'running' if runs else 'not running'}")
                running = cluster.running()
                print(f"{cluster.name}: {'running' if running else 'not running'}")
                return 0 if running else 1
    except (ClusterError, toolchain.ToolchainError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _image(text: str) -> Image:
    pattern, separator, directory = text.partition("=")
    if not (separator and pattern and directory):
        raise ClusterError(f"--image {text}: expected PATTERN=DIRECTORY, say '*weir*=.venv/bin'")
    return Image(pattern, (str(Path(directory).absolute()),))


if __name__ == "__main__":
    raise SystemExit(main())
