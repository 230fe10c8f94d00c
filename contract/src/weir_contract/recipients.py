"""Which addresses does a recipient of a receipt rule stand for, and do two of them meet?

SES Developer Guide, *Receipt rules and recipients* ("Recipient conditions"): ``user@example.com`` is
that address, also with a label (``user+orders@example.com``); ``example.com`` is every address of the
domain itself; ``.example.com`` every address of all domains below it. Case does not count.
"""

from __future__ import annotations

RECEIVING_REGIONS = frozenset(
    {
        "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1",
        "ap-southeast-2", "ap-southeast-3", "ca-central-1", "eu-central-1", "eu-north-1",
        "eu-south-1", "eu-west-1", "eu-west-2", "eu-west-3", "us-east-1", "us-east-2", "us-west-1",
        "us-west-2",
    }
)  # fmt: skip
"""Where SES receives mail (AWS General Reference, *Amazon SES endpoints and quotas*, "Email
receiving endpoints"). The list may be longer by now."""


def matches(recipient: str, address: str) -> bool:
    """Whether a recipient stands for an address.

    Parameters
    ----------
    recipient
        ``user@example.com``, ``example.com`` or ``.example.com``.
    address
        A mailbox: ``user+orders@sales.example.com``.
    """
    wanted, (name, _, domain) = recipient.lower(), address.lower().rpartition("@")
    if "@" in wanted:
        return wanted in (f"{name}@{domain}", f"{name.partition('+')[0]}@{domain}")
    if wanted.startswith("."):
        return domain.endswith(wanted)
    return domain == wanted


def meet(one: str, other: str) -> bool:
    """Whether there is an address that both recipients stand for."""
    first, second = one.lower(), other.lower()
    if first == second:
        return True
    if "@" in first or "@" in second:
        return ("@" in first and matches(second, first)) or (
            "@" in second and matches(first, second)
        )
    # Two domains: one of them, or both, with all that is below.
    if first.startswith(".") and second.startswith("."):
        return first.endswith(second) or second.endswith(first)
    if first.startswith("."):
        return second.endswith(first)
    return second.startswith(".") and first.endswith(second)


def domain_of(recipient: str) -> str:
    """The domain that a recipient is of, in lower case: ``sales.example.com``."""
    return recipient.lower().rpartition("@")[2].lstrip(".")


def with_parents(domain: str) -> tuple[str, ...]:
    """A domain and those above it, without the top level: ``a.b.com``, ``b.com``."""
    labels = domain.split(".")
    return tuple(".".join(labels[start:]) for start in range(max(1, len(labels) - 1)))
