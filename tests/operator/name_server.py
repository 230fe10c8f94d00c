"""A name server on the loopback that knows MX records."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.message
import dns.rcode
import dns.rrset


@dataclass
class NameServer:
    """Answers for MX records over UDP.

    Parameters
    ----------
    records
        Domain -> its MX records; a domain that is not there does not exist.
    """

    records: Mapping[str, list[str]]
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, question: dns.message.Message) -> bytes:
        name = question.question[0].name
        self.asked.append(name.to_text(omit_final_dot=True))
        answer = dns.message.make_response(question)
        found = self.records.get(self.asked[-1])
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "MX", *found))
        return answer.to_wire()


@contextmanager
def serving(server: NameServer) -> Iterator[tuple[str, int]]:
    """The server's address, as long as it answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        port.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    data, peer = port.recvfrom(4096)
                except TimeoutError:
                    continue
                if not server.silent:
                    port.sendto(server.answer(dns.message.from_wire(data)), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port.getsockname()
        finally:
            over.set()
            thread.join()
