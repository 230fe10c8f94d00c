"""What receiving a source's mails needs on AWS: a receipt rule, and domains that SES has verified.

The rule set is the whole account's, and its owner's: a Platform makes one only where none is active
and its spec says so.
"""

from __future__ import annotations

from weir.api.v1alpha1.datasource import DataSource
from weir.blueprint import config, naming, pieces
from weir.blueprint.facts import PlatformFacts
from weir.resource import Deletion, Resource
from weir_contract.recipients import domain_of

RULE = "receipt-rule"
RULE_SET = "rule-set"


def rule_name(source: DataSource, facts: PlatformFacts) -> str:
    """The physical name of a source's receipt rule."""
    return pieces.Naming(facts.cluster, "DataSource", source.namespace, source.name)(
        "receipt", "mail"
    )


def rule_set(facts: PlatformFacts) -> Resource:
    """That a rule set is active. What others have put into one of ours keeps it."""
    return Resource(
        "ses.RuleSet",
        RULE_SET,
        facts.name("receipt", "mail"),
        {"Active": True},
        deletion=Deletion.EMPTY_ONLY,
        tagged=False,
    )


def receiving(source: DataSource, facts: PlatformFacts) -> tuple[Resource, ...]:
    """The receipt rule of a source and its domains; nothing for one that receives no mails.

    A suspended source has its rule still: what comes meanwhile waits, and is not bounced.
    """
    email = source.spec.source.email
    if email is None or email.receive is None:
        return ()
    bucket, prefix = config.place_of_mails(source, facts)
    domains = sorted({domain_of(one) for one in email.receive.recipients})
    rule = Resource(
        "ses.ReceiptRule",
        RULE,
        rule_name(source, facts),
        {
            "Recipients": sorted({one.lower() for one in email.receive.recipients}),
            "Enabled": True,
            "ScanEnabled": True,
            "TlsPolicy": "Require" if email.receive.require_tls else "Optional",
            "Actions": [{"S3Action": {"BucketName": bucket, "ObjectKeyPrefix": prefix}}],
            "Position": facts.mail.rule_position,
        },
        ("machine",),
        tagged=False,
    )
    identities = (
        Resource(
            "ses.Identity",
            f"domain-{naming.short_hash(domain)}",
            domain,
            tagged=False,
            external=True,
        )
        for domain in domains
    )
    return *identities, rule
