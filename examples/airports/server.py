"""The airports of the vega_datasets package over HTTP, in pages, for whoever has the API key.

``python examples/airports/server.py --port 8765 --key-file FILE`` listens on loopback.
``GET /airports?page=1&per_page=500`` answers ``{"data": [...], "page": 1, "pages": 7}``.
"""

from __future__ import annotations

import argparse
import csv
import hmac
import json
import math
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

MAX_PER_PAGE = 1000


def airports() -> list[dict[str, object]]:
    """The package's own rows: iata, name, city, state, country, latitude, longitude."""
    text = files("vega_datasets").joinpath("_data/airports.csv").read_text(encoding="utf-8")
    return [
        {**row, "latitude": float(row["latitude"]), "longitude": float(row["longitude"])}
        for row in csv.DictReader(text.splitlines())
    ]


class Handler(BaseHTTPRequestHandler):
    """Answers pages; 401 without the key."""

    rows: list[dict[str, object]]
    key: str

    def do_GET(self) -> None:
        """Serve one page."""
        url = urlsplit(self.path)
        if url.path == "/healthz":
            self.answer(200, {"rows": len(self.rows)})
        elif not hmac.compare_digest(self.headers.get("X-Api-Key", ""), self.key):
            self.answer(401, {"error": "send the API key in the header X-Api-Key"})
        elif url.path == "/airports":
            query = parse_qs(url.query)
            page = int(query.get("page", ["1"])[0])
            size = min(int(query.get("per_page", ["100"])[0]), MAX_PER_PAGE)
            start = (page - 1) * size
            pages = math.ceil(len(self.rows) / size)
            self.answer(
                200, {"data": self.rows[start : start + size], "page": page, "pages": pages}
            )
        else:
            self.answer(404, {"error": f"there is no {url.path}"})

    def answer(self, status: int, body: dict[str, object]) -> None:
        """Send JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say what was asked, never a header."""
        print(f"{self.log_date_time_string()} {format % args}", flush=True)


def main() -> None:
    """Listen until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--key-file", type=Path, required=True)
    options = parser.parse_args()
    Handler.rows = airports()
    Handler.key = options.key_file.read_text().strip()
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
