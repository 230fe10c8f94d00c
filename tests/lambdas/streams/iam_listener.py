"""A listener of Kafka that takes a login by IAM, as brokers of Amazon MSK do, before a real broker.

MSK Developer Guide, *IAM access control*; the mechanism ``AWS_MSK_IAM`` as AWS's own library for Java
(aws-msk-iam-auth) speaks it; Kafka protocol, *SaslHandshake* and *SaslAuthenticate*. Apache Kafka has
no such login: what comes after it goes to a listener without one.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from contextlib import suppress
from typing import Any, Self

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from weir_local.kafka import Broker

HANDSHAKE, AUTHENTICATE = 17, 36
PASSED, DENIED = 0, 58


class IamListener:
    """``with IamListener(broker, credentials, region) as listener:`` serves on ``listener.server``."""

    def __init__(self, broker: Broker, credentials: Credentials, region: str) -> None:
        self.broker, self.credentials, self.region = broker, credentials, region
        self.logins: list[bool] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(broker.directory / "server.pem")
        self.listening = socket.create_server(("127.0.0.1", 0))

    @property
    def server(self) -> str:
        return f"localhost:{self.port}"

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listening.close()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                opened, _ = self.listening.accept()
                threading.Thread(target=self.serve, args=(opened,), daemon=True).start()

    def serve(self, opened: socket.socket) -> None:
        host, _, port = self.broker.plaintext.partition(":")
        # A client goes away when it is done, or refuses the certificate.
        with (
            suppress(OSError, struct.error),
            self.context.wrap_socket(opened, server_side=True) as client,
            socket.create_connection((host, int(port))) as broker,
        ):
            passed = False
            while True:
                request = frame(client)
                kind, version, number = struct.unpack(">hhi", request[:8])
                if kind == HANDSHAKE:
                    name = b"AWS_MSK_IAM"
                    send(client, struct.pack(">ihih", number, PASSED, 1, len(name)) + name)
                elif kind == AUTHENTICATE:
                    passed = self.signed(request)
                    self.logins.append(passed)
                    send(client, answer(number, version, passed))
                elif passed or kind == 18:
                    send(broker, request)
                    send(client, self.moved(frame(broker)))
                else:
                    return

    def signed(self, request: bytes) -> bool:
        """Whether a login is signed by the credentials, by botocore's own arithmetic."""
        told = json.loads(request[request.index(b"{") : request.rindex(b"}") + 1])
        auth: Any = SigV4QueryAuth(self.credentials, "kafka-cluster", self.region, expires=900)
        wanted = AWSRequest("GET", f"https://{told['host']}/?Action={told['action']}")
        wanted.context["timestamp"] = told["x-amz-date"]
        auth._modify_request_before_signing(wanted)
        text = auth.string_to_sign(wanted, auth.canonical_request(wanted))
        return bool(
            told["action"] == "kafka-cluster:Connect"
            and told["x-amz-signature"] == auth.signature(text, wanted)
        )

    def moved(self, found: bytes) -> bytes:
        """An answer in which the broker is where this listener is; the name is as long."""
        host, _, port = self.broker.plaintext.partition(":")
        there = host.encode() + struct.pack(">i", int(port))
        return found.replace(there, b"localhost" + struct.pack(">i", self.port))


def answer(number: int, version: int, passed: bool) -> bytes:
    """*SaslAuthenticate*'s; from version 2 on in the compact form."""
    code, told = (PASSED, b'{"version":"2020_10_22"}') if passed else (DENIED, b"")
    if version < 2:
        head = struct.pack(">ihhi", number, code, -1, len(told)) + told
        return head + (struct.pack(">q", 0) if version else b"")
    length = bytes([len(told) + 1])
    return struct.pack(">ibhb", number, 0, code, 0) + length + told + struct.pack(">qb", 0, 0)


def frame(connection: socket.socket) -> bytes:
    """The next request or answer; OSError at the end."""
    (size,) = struct.unpack(">i", exactly(connection, 4))
    return exactly(connection, size)


def exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        some = connection.recv(size - len(found))
        if not some:
            raise OSError("the connection is closed")
        found += some
    return found


def send(connection: socket.socket, body: bytes) -> None:
    connection.sendall(struct.pack(">i", len(body)) + body)
