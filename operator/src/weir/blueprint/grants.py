"""What may the objects of this namespace do on this Platform?"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weir.api.v1alpha1.platform import Grant, Platform
from weir_contract.sources import Egress


@dataclass(frozen=True)
class NamespaceGrant:
    """All grants that select a namespace, in one.

    ``bucket_prefixes``, ``schemas`` and ``hosts`` are patterns with ``*``; None means that no
    grant limits them. ``allow`` has any of ``adopt``, ``scripts``, ``delete``, ``move``.
    ``adopt_names`` are patterns of what ``adopt`` is for; None means every name.
    """

    namespace: str
    granted: bool = False
    secret_prefixes: tuple[str, ...] = ()
    bucket_prefixes: tuple[str, ...] | None = None
    external_arns: tuple[str, ...] = ()
    mail_recipients: tuple[str, ...] = ()
    schemas: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    allow_private: bool = False
    allow_loopback: bool = False
    allow: frozenset[str] = frozenset()
    adopt_names: tuple[str, ...] | None = None

    def may_adopt(self, name: str) -> bool:
        """Whether something that was there before may be taken over, by its physical name."""
        return "adopt" in self.allow and _matches(name, self.adopt_names)

    def was_handed(self, schema: str) -> bool:
        """Whether a schema of the warehouse is granted by its very name, not by a pattern."""
        return schema.lower() in {one.lower() for one in self.schemas or ()}

    def may_use(self, arn: str) -> bool:
        """Whether something of others is granted: a bucket, an object, a stream, a topic."""
        return _matches(arn, self.external_arns)

    def may_receive(self, recipient: str) -> bool:
        """Whether the mails of a recipient are granted; case does not count."""
        patterns = tuple(pattern.lower() for pattern in self.mail_recipients)
        return _matches(recipient.lower(), patterns)

    @property
    def egress(self) -> Egress:
        """Where a source of this namespace may send requests."""
        return Egress(self.allow_loopback, self.allow_private, self.hosts or ())

    def may_write(self, prefix: str) -> bool:
        """Whether a prefix of processed or curated is granted."""
        return _matches(prefix, self.bucket_prefixes)

    def may_load(self, schema: str) -> bool:
        """Whether a schema of the warehouse is granted; Redshift folds names to lower case."""
        patterns = None if self.schemas is None else tuple(p.lower() for p in self.schemas)
        return _matches(schema.lower(), patterns)

    def may_call(self, host: str) -> bool:
        """Whether a host is granted. ``*.example.com`` covers subdomains, not the domain."""
        patterns = None if self.hosts is None else tuple(p.lower() for p in self.hosts)
        return _matches(host.lower(), patterns)


def _matches(text: str, patterns: tuple[str, ...] | None) -> bool:
    return patterns is None or any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def namespace_grant(
    platform: Platform, namespace: str, labels: Mapping[str, str] | None = None
) -> NamespaceGrant:
    """The sum of the Platform's grants that select the namespace.

    A grant that is silent on a limit adds nothing to it: where one grant names hosts and another
    does not, the named hosts are the limit.

    Parameters
    ----------
    labels
        The Namespace's labels.
    """
    found = [grant for grant in platform.spec.grants if _selects(grant, namespace, labels or {})]
    egress = [grant.egress for grant in found if grant.egress]
    return NamespaceGrant(
        namespace=namespace,
        granted=bool(found),
        secret_prefixes=_sum(grant.secret_prefixes for grant in found) or (),
        bucket_prefixes=_sum(grant.bucket_prefixes for grant in found),
        external_arns=_sum(grant.external_arns for grant in found) or (),
        mail_recipients=_sum(grant.mail_recipients for grant in found) or (),
        schemas=_sum(grant.redshift.schemas for grant in found if grant.redshift),
        hosts=_sum(item.hosts for item in egress),
        allow_private=any(item.allow_private for item in egress),
        allow_loopback=any(item.allow_loopback for item in egress),
        allow=frozenset(word for grant in found for word in grant.allow or ()),
        adopt_names=_sum(grant.adopt_names for grant in found if "adopt" in (grant.allow or ())),
    )


def _selects(grant: Grant, namespace: str, labels: Mapping[str, str]) -> bool:
    selector = grant.namespaces
    if selector.names and namespace in selector.names:
        return True
    wanted = selector.match_labels
    return bool(wanted) and all(labels.get(key) == value for key, value in (wanted or {}).items())


def _sum(lists: Iterable[list[str] | None]) -> tuple[str, ...] | None:
    stated = [items for items in lists if items is not None]
    if not stated:
        return None
    return tuple(dict.fromkeys(item for items in stated for item in items))
