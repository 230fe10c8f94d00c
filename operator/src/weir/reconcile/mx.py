"""Do the MX records of a recipient's domain lead to where SES receives its mails?

Mail may come by way of another server, which passes it on. So what is found is told, and keeps
nothing from being made; nor does a resolver that does not answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from weir.kube.conditions import Condition, false, true, unknown

ROUTED = "MailRouted"
"""The condition: mails for the source's recipients are sent to SES."""

LOOKUP_SECONDS = 2.0
"""For one domain, all servers and tries together."""

FRESH_SECONDS = 600.0
"""For which an answer, or that there was none, is believed."""


@dataclass(frozen=True)
class _Known:
    hosts: tuple[str, ...] | None
    until: float


class Exchangers:
    """The servers that take a domain's mails, by its MX records (RFC 5321, section 5.1). Thread-safe.

    Parameters
    ----------
    resolver
        IP address and port of the server that is asked; None: those of the machine.
    clock
        Seconds that only grow.
    """

    def __init__(
        self, resolver: tuple[str, int] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stated, self._resolver, self._clock = resolver is not None, resolver, clock
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def of(self, domains: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
        """The servers of each domain: host names in lower case, the preferred first; none at all
        where it has no MX record; None where nobody could say.

        After a domain that nobody answers for, no other is asked for this time: so one look waits
        :data:`LOOKUP_SECONDS` for a silent resolver, however many domains it has.
        """
        found: dict[str, tuple[str, ...] | None] = {}
        silent = False
        for domain in domains:
            with self._lock:
                known = self._known.get(domain)
            if silent or (known is not None and known.until > self._clock()):
                found[domain] = known.hosts if known is not None else None
                continue
            hosts = self._look_up(domain)
            silent = hosts is None
            if hosts is None and known is not None:
                hosts = known.hosts  # What was true is likelier than nothing.
            with self._lock:
                self._known[domain] = _Known(hosts, self._clock() + FRESH_SECONDS)
            found[domain] = hosts
        return found

    def _look_up(self, domain: str) -> tuple[str, ...] | None:
        # A tenth of what the operator takes to start, for sources of mails only.
        import dns.exception
        import dns.resolver

        try:
            resolver = dns.resolver.Resolver(configure=self._resolver is None)
            if self._resolver is not None:
                address, resolver.port = self._resolver
                resolver.nameservers = [address]
            answer = resolver.resolve(f"{domain}.", "MX", lifetime=LOOKUP_SECONDS)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.DNSException, OSError, ValueError):
            return None
        records = sorted((one.preference, str(one.exchange).rstrip(".").lower()) for one in answer)
        return tuple(host for _, host in records)


def routed(region: str, found: Mapping[str, tuple[str, ...] | None]) -> Condition:
    """Whether mails are sent to SES's servers of a region.

    Parameters
    ----------
    found
        Domain -> its servers, as :meth:`Exchangers.of` gives them.
    """
    server = f"inbound-smtp.{region}.amazonaws.com"
    elsewhere = [
        f"the MX records of {domain} lead to {', '.join(hosts[:3])}"
        if any(hosts)
        else f"{domain} has no MX record"
        for domain, hosts in found.items()
        if hosts is not None and server not in hosts
    ]
    if elsewhere:
        return false(
            ROUTED,
            "MailGoesElsewhere",
            f"{'; '.join(elsewhere)}: mails reach the source only where another server passes them "
            f"on to {server}; publish the MX record 10 {server}, unless it is meant so",
        )
    silent = [domain for domain, hosts in found.items() if hosts is None]
    if silent:
        return unknown(
            ROUTED, "NotLookedUp", f"no resolver answers for the MX records of {', '.join(silent)}"
        )
    return true(ROUTED, "MailReachesSes", f"the MX records lead to {server}")
