"""``python -m weir_local.proxy --upstream URL [--port N]``: a counting proxy until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio

from weir_local.proxy.server import Proxy


def main() -> None:
    """Serve on loopback; ``GET /_weir/counts`` says what went through."""
    parser = argparse.ArgumentParser(prog="python -m weir_local.proxy", description=__doc__)
    parser.add_argument("--upstream", required=True, help="the AWS endpoint, http://host:port")
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0 takes a free port")
    arguments = parser.parse_args()
    asyncio.run(Proxy(arguments.upstream, port=arguments.port).serve())


if __name__ == "__main__":
    main()
