"""SES: the receipt rules that Weir keeps in the account's active rule set, and what they need.

The rule set belongs to the whole account: Weir writes its own rules by name and no others, and never
activates a set where another is active. All calls here are made at most once a second (SES API
Reference: *DescribeActiveReceiptRuleSet* and its kin), so that one of them serves any number of names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.aws.base import ServiceAdapter, chunks
from weir.aws.errors import AwsError, Conflict, Invalid, NotYet, Transient
from weir.aws.external import ReadOnly
from weir.aws.session import AwsSession
from weir.resource import Change, Observed, Resource, Traits
from weir_contract.recipients import RECEIVING_REGIONS, meet, with_parents

IDENTITIES = 100
"""Identities of one GetIdentityVerificationAttributes."""
NO_RULE_SET_SECONDS = 60.0
BUCKET_SECONDS = 5.0


class _Receiving(ServiceAdapter):
    """What both kinds need: the active rule set."""

    service = "ses"

    def active(self) -> tuple[str, list[dict[str, Any]]] | None:
        """The active rule set's name and its rules in their order; None where none is active.

        Raises
        ------
        Invalid
            SES receives no mail in this region.
        """
        region = self.session.region
        try:
            found = self.calls("DescribeActiveReceiptRuleSet")
        except (Invalid, Transient) as error:
            if region in RECEIVING_REGIONS:
                raise
            raise Invalid(
                f"SES receives no mail in {region}: use a Platform in one of the regions where it "
                f"does (SES Developer Guide, Regions: Email receiving). SES said: {error}",
                service=self.service,
                operation="DescribeActiveReceiptRuleSet",
                code=error.code,
            ) from error
        name = (found.get("Metadata") or {}).get("Name")
        return (str(name), list(found.get("Rules") or [])) if name else None


class ReceiptRule(_Receiving):
    """A receipt rule in the active rule set, by its name alone: rules carry no tags.

    Properties: ``Recipients``, ``Enabled``, ``TlsPolicy``, ``ScanEnabled``, ``Actions`` and
    ``Position`` (``Last`` or ``First``), which is where a new one is put and is not compared: people
    may move it. Attributes: ``arn``, ``ruleSet``, and ``stoppedBy``, the name of an earlier rule of
    others that ends the evaluation for some of its recipients.
    """

    kind = "ses.ReceiptRule"
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {key: value for key, value in properties.items() if key != "Position"}
        if "Recipients" in form:
            form["Recipients"] = sorted({one.lower() for one in form["Recipients"]})
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        found = self.active() if names else None
        if found is None:
            return {}
        return _seen(set(names), *found, self.session.arn("ses", "receipt-rule-set"))

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        name = resource.name
        found = self.active()
        if found is None:
            raise NotYet(
                "no receipt rule set of SES is active in account "
                f"{self.session.account_id}, {self.session.region}, and Weir activates none unasked: "
                "activate one (aws ses set-active-receipt-rule-set), or have the Platform make one "
                "(spec.mail.createRuleSet)",
                service=self.service,
                operation="CreateReceiptRule",
                resource=name,
                retry_after=NO_RULE_SET_SECONDS,
            )
        rule_set, rules = found
        place = {}
        if rules and resource.properties.get("Position") != "First":
            place = {"After": rules[-1]["Name"]}
        rule = {"Name": name, **self.canonical(resource.properties)}
        try:
            self._write("CreateReceiptRule", rule, rule_set, **place)
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        rules = [rule, *rules] if not place else [*rules, rule]
        return _seen({name}, rule_set, rules, self.session.arn("ses", "receipt-rule-set"))[name]

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        if changes:
            rule = {"Name": resource.name, **self.canonical(resource.properties)}
            self._write("UpdateReceiptRule", rule, observed.attributes["ruleSet"])
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        # Also from sets that were active before: one of them may be again.
        for rule_set in self.calls.pages("ListReceiptRuleSets", "RuleSets", observed.name):
            self.calls.find(
                "DeleteReceiptRule",
                observed.name,
                RuleSetName=rule_set["Name"],
                RuleName=observed.name,
            )

    def _write(self, operation: str, rule: Mapping[str, Any], rule_set: str, **place: str) -> None:
        """Write a rule; SES tries at once whether it may put into the bucket."""
        name = str(rule["Name"])
        try:
            self.calls(operation, name, RuleSetName=rule_set, Rule=dict(rule), **place)
        except AwsError as error:
            if error.code != "InvalidS3Configuration":
                raise
            (action,) = (one["S3Action"] for one in rule["Actions"] if "S3Action" in one)
            bucket, prefix = action["BucketName"], action.get("ObjectKeyPrefix", "")
            raise NotYet(
                f"SES may not write to s3://{bucket}/{prefix} yet: the bucket's policy must allow "
                "s3:PutObject to ses.amazonaws.com for the rule "
                f"{_rule_arn(self.session.arn('ses', 'receipt-rule-set'), rule_set, name)} "
                "(aws:SourceArn), and the policy of the bucket's key kms:GenerateDataKey and "
                "kms:Decrypt. A bucket that Weir made gets this from its Platform; for an adopted "
                f"one add it. SES said: {error}",
                service=self.service,
                operation=operation,
                resource=name,
                code=error.code,
                retry_after=BUCKET_SECONDS,
            ) from error


def _rule_arn(sets: str, rule_set: str, rule: str) -> str:
    return f"{sets}/{rule_set}:receipt-rule/{rule}"


def _seen(
    names: set[str], rule_set: str, rules: Sequence[Mapping[str, Any]], sets: str
) -> dict[str, Observed]:
    """Those rules of a set that have one of these names."""
    return {
        rule["Name"]: Observed(
            rule["Name"],
            {
                "Recipients": sorted(one.lower() for one in rule.get("Recipients") or ()),
                "Enabled": bool(rule.get("Enabled")),
                "TlsPolicy": rule.get("TlsPolicy", "Optional"),
                "ScanEnabled": bool(rule.get("ScanEnabled")),
                "Actions": list(rule.get("Actions") or ()),
            },
            attributes={
                "arn": _rule_arn(sets, rule_set, rule["Name"]),
                "ruleSet": rule_set,
                "stoppedBy": stopped_by(rules[:place], rule.get("Recipients") or ()),
            },
        )
        for place, rule in enumerate(rules)
        if rule["Name"] in names
    }


def stopped_by(before: Iterable[Mapping[str, Any]], recipients: Sequence[str]) -> str:
    """The first of the rules before that keeps mails to these recipients from what follows it, by a
    stop action; empty for none. A rule without recipients is for all."""
    for rule in before:
        stops = any("StopAction" in action for action in rule.get("Actions") or ())
        theirs = rule.get("Recipients") or ()
        touched = not theirs or any(meet(one, other) for one in theirs for other in recipients)
        if rule.get("Enabled") and stops and touched:
            return str(rule["Name"])
    return ""


class RuleSet(_Receiving):
    """That some receipt rule set is active: another's, or else one of this name that Weir makes.

    Properties: ``Active``. Attributes: ``ruleSet``, the active one.
    """

    kind = "ses.RuleSet"
    traits = Traits()

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        found = self.active() if names else None
        if found is not None:
            return {name: self._observed(name, found[0]) for name in names}
        return {
            name: self._observed(name, "")
            for name in names
            if self.calls.find("DescribeReceiptRuleSet", name, RuleSetName=name) is not None
        }

    def _observed(self, name: str, active: str) -> Observed:
        arn = self.session.arn("ses", f"receipt-rule-set/{name}")
        return Observed(name, {"Active": bool(active)}, attributes={"arn": arn, "ruleSet": active})

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        try:
            self.calls("CreateReceiptRuleSet", resource.name, RuleSetName=resource.name)
        except Conflict as taken:
            # Its name says that it is ours: it was made, and the answer was lost.
            if taken.code != "AlreadyExists":
                raise
        return self._activate(resource.name)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Observed:
        return self._activate(resource.name) if changes else observed

    def _activate(self, name: str) -> Observed:
        """Make it the active one, unless another is by now."""
        found = self.active()
        if found is None:
            self.calls("SetActiveReceiptRuleSet", name, RuleSetName=name)
        return self._observed(name, found[0] if found else name)

    def delete(self, observed: Observed) -> None:
        name = observed.name
        found = self.calls.find("DescribeReceiptRuleSet", name, RuleSetName=name)
        if found is None:
            return
        others = [rule["Name"] for rule in found.get("Rules") or ()]
        if others:
            raise Conflict(
                f"receipt rule set {name} has rules of others ({', '.join(others[:5])}) and stays: "
                "move them to another set, activate that one, and it will be deleted",
                service=self.service,
                operation="DeleteReceiptRuleSet",
                resource=name,
                retry_after=300.0,
            )
        active = self.active()
        if active is not None and active[0] == name:
            self.calls("SetActiveReceiptRuleSet", name)
        self.calls.find("DeleteReceiptRuleSet", name, RuleSetName=name)


class Identity(ReadOnly, _Receiving):
    """A domain for which SES may receive: verified itself, or one above it. Never written."""

    kind = "ses.Identity"

    def __init__(self, session: AwsSession) -> None:
        super().__init__(session)
        mx = f"inbound-smtp.{session.region}.amazonaws.com"
        advice = (
            "SES has not verified the domain in this account and region, and refuses its mails. Create "
            "the identity (aws ses verify-domain-dkim --domain ...), publish its three CNAME records, "
            f"and let the domain's MX record lead to {mx} (10 {mx})"
        )
        self.traits = replace(self.traits, absent=advice)

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        asked = sorted({parent for name in names for parent in with_parents(name)})
        verified: set[str] = set()
        for some in chunks(asked, IDENTITIES):
            told = self.calls("GetIdentityVerificationAttributes", Identities=list(some))
            verified |= {
                name
                for name, state in told["VerificationAttributes"].items()
                if state.get("VerificationStatus") == "Success"
            }
        return {
            name: Observed(
                name, {}, attributes={"arn": self.session.arn("ses", f"identity/{name}")}
            )
            for name in names
            if verified & set(with_parents(name))
        }


ADAPTERS = (ReceiptRule, RuleSet, Identity)
