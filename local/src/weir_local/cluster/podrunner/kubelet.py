"""The part of a kubelet's HTTPS interface that ``kubectl logs`` needs."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from weir_local.cluster.ports import LOOPBACK

FOLLOW_POLL_SECONDS = 0.2
# (namespace, pod, container, previous) -> the log file, and whether more may come; None: no such.
FindLog = Callable[[str, str, str, bool], tuple[Path, Callable[[], bool]] | None]


def server(
    port: int, certificate: Path, key: Path, authority: Path, find: FindLog
) -> ThreadingHTTPServer:
    """A server on loopback that only the API server's certificate opens.

    Parameters
    ----------
    port
        0 for any.
    certificate, key, authority
        PEM files: its own, and whose clients it trusts.
    find
        Finds a container's log.
    """
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(certificate, key)
    trust.load_verify_locations(authority)
    trust.verify_mode = ssl.CERT_REQUIRED
    handler = type("Handler", (_Handler,), {"find": staticmethod(find)})
    http = ThreadingHTTPServer((LOOPBACK, port), handler)
    http.daemon_threads = True
    http.socket = trust.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    return http


class _Handler(BaseHTTPRequestHandler):
    find: FindLog

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        if len(parts) != 4 or parts[0] != "containerLogs":
            self._refuse(404, "this runner serves /containerLogs/<namespace>/<pod>/<container>")
            return
        unsupported = [key for key in ("sinceTime", "sinceSeconds") if key in query]
        if unsupported or query.get("timestamps") == "true":
            self._refuse(501, "this runner keeps no time beside each line: ask without --since,"
                              " --since-time and --timestamps")  # fmt: skip
            return
        found = self.find(parts[1], parts[2], parts[3], query.get("previous") == "true")
        if found is None:
            self._refuse(404, f"no log of container {parts[3]} in pod {parts[1]}/{parts[2]}")
            return
        path, growing = found
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        try:
            self._send(path, query, growing)
        except OSError:
            # The reader went away (Ctrl-C in `kubectl logs -f`).
            self.close_connection = True

    def _send(self, path: Path, query: dict[str, str], growing: Callable[[], bool]) -> None:
        limit = int(query.get("limitBytes", -1))
        with path.open("rb") as log:
            data = log.read()
            if "tailLines" in query:
                lines = int(query["tailLines"])
                data = b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""
            self.wfile.write(data if limit < 0 else data[:limit])
            self.wfile.flush()
            while query.get("follow") == "true" and limit < 0:
                more_to_come = growing()
                if chunk := log.read():
                    self.wfile.write(chunk)
                    self.wfile.flush()
                elif not more_to_come:
                    return
                else:
                    time.sleep(FOLLOW_POLL_SECONDS)

    def _refuse(self, status: int, message: str) -> None:
        body = message.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the runner's log is about pods."""
