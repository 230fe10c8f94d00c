"""``python -m weir_local.aws [serve|up|down|status|bootstrap|warm]``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from weir_local.aws import process, server


def main(arguments: list[str] | None = None) -> int:
    """The command line of the local AWS.

    :returns: the exit code; ``status`` gives 3 when nothing runs
    """
    parser = argparse.ArgumentParser(prog="python -m weir_local.aws", description=__doc__)
    parser.add_argument(
        "command",
        nargs="?",
        default="serve",
        choices=("serve", "up", "down", "status", "bootstrap", "warm"),
    )
    parser.add_argument("--port", type=int, default=0, help="on loopback; 0 takes a free one")
    parser.add_argument("--state", type=Path, default=Path(".local/aws"))
    parser.add_argument("--account", default=server.ACCOUNT)
    parser.add_argument("--region", default=server.REGION)
    parser.add_argument(
        "--persist", action="store_true", help="serve: keep what it holds over a restart"
    )
    parser.add_argument(
        "--policy",
        type=Path,
        action="append",
        default=[],
        help="bootstrap: a policy document of the operator's; may be repeated",
    )
    options = parser.parse_args(arguments)
    state = options.state.resolve()
    if options.command == "serve":
        port = options.port or server.free_port()
        server.serve(port, state, options.account, options.region, options.persist)
    elif options.command == "up":
        record = process.up(state, options.port, options.account, options.region)
        print(json.dumps(asdict(record)))
    elif options.command == "down":
        print("stopped" if process.down(state) else "nothing was running")
    elif options.command == "status":
        record_or_none = process.read(state)
        if record_or_none is None:
            print("not running")
            return 3
        well = server.healthy(record_or_none.endpoint)
        print(json.dumps({**asdict(record_or_none), "healthy": well}))
        return 0 if well else 1
    elif options.command == "bootstrap":
        from weir_local.aws import bootstrap

        running = process.read(state)
        if running is None:
            print(f"no local AWS runs for {state}: start it with `up`", file=sys.stderr)
            return 3
        policies = {path.stem: json.loads(path.read_text()) for path in options.policy}
        credentials = bootstrap.bootstrap(running.endpoint, running.region, state, policies)
        print(f"credentials in {credentials}")
    else:
        from weir_local.aws import sparkjars

        for line in sparkjars.warm():
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
