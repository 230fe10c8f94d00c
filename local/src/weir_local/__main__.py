"""``python -m weir_local up|down|status|demo|warm``: what make calls."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from weir_local import kafka
from weir_local.aws import sparkjars
from weir_local.aws.server import StartFailed
from weir_local.cluster import ClusterError, toolchain
from weir_local.demo import demo
from weir_local.kafka import BrokerError, JarsMissing
from weir_local.stack import ROOT, Stack, StackError, build_artifacts


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 0 when done, 1 on an error."""
    parser = argparse.ArgumentParser(prog="python -m weir_local", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status", "demo", "warm"))
    parser.add_argument("--state", type=Path, default=ROOT / ".local")
    parser.add_argument("--keep", action="store_true", help="demo: leave everything running")
    parser.add_argument("--kafka", action="store_true", help="up: an Apache Kafka broker too")
    options = parser.parse_args(arguments)
    stack = Stack(options.state, _report, kafka=options.kafka)
    try:
        match options.action:
            case "up":
                stack.up()
                print(f"up. Now: source {os.path.relpath(stack.state / 'env.sh')}")
            case "down":
                stack.down()
            case "status":
                runs = stack.status()
                for name, running in runs.items():
                    print(f"{name}: {'running' if running else 'not running'}")
                return 0 if all(runs.values()) else 1
            case "demo":
                return demo(options.state, options.keep)
            case _:
                warm()
    except (
        StackError,
        BrokerError,
        ClusterError,
        JarsMissing,
        toolchain.ToolchainError,
        StartFailed,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def warm() -> None:
    """Build and fetch what the stack and the tests need, once."""
    for name, path in toolchain.programs(os.environ).items():
        print(f"{name}: {path}")
    for line in (*sparkjars.warm(), *kafka.warm()):
        print(line)
    build_artifacts()


def _report(step: str, seconds: float) -> None:
    print(f"{step}: {seconds:.1f} s" if seconds else step, flush=True)


if __name__ == "__main__":
    sys.exit(main())
