"""Mails of a source: whose they are, and whether another's rule keeps them away.

A recipient is one source's in an account and region: the oldest one's that is granted it. The active
rule set is the account owner's: what stands in the way there is named, and not changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.platform import Platform
from weir.aws.errors import AwsError
from weir.blueprint import mail, workmail
from weir.blueprint.grants import namespace_grant
from weir.kube.client import Object
from weir.kube.conditions import Condition, find, true, unknown
from weir.kube.keys import Key, is_deleting
from weir.reconcile import wanted as blueprints
from weir.reconcile.look import Halt, Look, halt_of
from weir.reconcile.mx import ROUTED, routed
from weir.reconcile.services import Services
from weir.reconcile.view import View, age
from weir.reconcile.world import World
from weir_contract.recipients import domain_of, meet

NOTICED_SECONDS = 300.0
"""How soon a rule set that others change is looked at again."""


def recipients_of(obj: Object) -> Sequence[str]:
    """Whose mails a DataSource receives by a rule of its own, by its spec."""
    email = obj["spec"]["source"].get("email") or {}
    return list((email.get("receive") or {}).get("recipients") or ())


def check_recipients(services: Services, view: View, platform: Platform, obj: Object) -> None:
    """Refuse a recipient that meets one of an older source in the same account and region.

    Raises
    ------
    Halt
        Another source has it.
    """
    mine = recipients_of(obj)
    if not mine:
        return
    receivers: list[Key] = view.memo(
        "receivers of mails",
        lambda: [Key.of(one) for one in view.of_kind("DataSource") if recipients_of(one)],
    )
    for key in receivers:
        other = view.get(key)
        if other is None or is_deleting(other) or age(other) >= age(obj):
            continue
        for recipient in recipients_of(other):
            met = next((one for one in mine if meet(one, recipient)), None)
            if met is not None and _holds(services, view, platform, other, recipient):
                same = "" if met.lower() == recipient.lower() else f" (as {recipient})"
                raise Halt(
                    "Conflict",
                    f"the mails of {met} are received by {key}{same}, which claimed them first: "
                    "receive others, or delete that one",
                    stalled=True,
                )


def _holds(
    services: Services, view: View, platform: Platform, other: Object, recipient: str
) -> bool:
    """Whether another source may receive a recipient's mails in the account and region of a
    Platform: what nobody granted it holds up nobody."""
    found = view.platform(other["spec"].get("platform", "default"))
    if found is None:
        return False
    theirs = found[0]
    place = (platform.spec.account_id, platform.spec.region)
    if (theirs.spec.account_id, theirs.spec.region) != place:
        return False
    namespace = other["metadata"]["namespace"]
    labels = blueprints.labels_for(services, theirs)(namespace)
    return namespace_grant(theirs, namespace, labels).may_receive(recipient)


def follow_route(look: Look, platform: Platform) -> None:
    """Say whether mails for the source's recipients are sent to SES, by their domains' MX records.

    Not asked for an AWS of one's own, which no mail of the world is sent to, unless a resolver is
    stated. All domains below one (``.example.com``) have no record that could be asked for.
    """
    exchangers, recipients = look.services.exchangers, recipients_of(look.obj)
    if exchangers is None or (platform.spec.endpoint_url and not exchangers.stated):
        return
    domains = sorted({domain_of(one) for one in recipients if not one.startswith(".")})
    if not domains:
        return
    look.routed = found = routed(platform.spec.region, exchangers.of(domains))
    before = find(look.obj.get("status") or {}, ROUTED) or {}
    if found.status == "False" and before.get("message") != found.message:
        look.services.events.warn(look.obj, found.reason, found.message, "Receive")


def follow_flow(look: Look, source: DataSource, context: blueprints.Context, world: World) -> None:
    """Say whether a rule of WorkMail has ever called the source's function.

    Nobody can look at the rules: WorkMail's console alone shows them. Once a mail has come, nothing is
    asked any more.
    """
    email = source.spec.source.email
    if email is None or email.workmail is None:
        return
    organization = email.workmail.organization_id
    before = find(look.obj.get("status") or {}, ROUTED) or {}
    told = str(before.get("message", ""))
    if before.get("status") == "True" and organization in told:
        look.routed = Condition(ROUTED, "True", str(before["reason"]), told)
        return
    first = world.ledger.first_mail(context.facts.state_table, source.id, organization)
    function = workmail.function_arn(source, context.facts)
    look.routed = (
        true(ROUTED, "WorkMailCalls", f"organization {organization} passes mails on since {first}")
        if first
        else unknown(
            ROUTED,
            "WaitingForRule",
            f"no mail has come from WorkMail organization {organization} yet: make an inbound rule in "
            f"its console (Organization settings, Inbound rules) with the action Run Lambda and the "
            f"function {function}",
        )
    )


def kept_away(source: DataSource, context: blueprints.Context, world: World) -> Halt | None:
    """Whether a rule of others ends the evaluation before the source's own has its turn."""
    email = source.spec.source.email
    if email is None or email.receive is None:
        return None
    key = ("ses.ReceiptRule", mail.rule_name(source, context.facts))
    try:
        seen = world.inventory.get([key]).get(key)
    except AwsError as error:
        return halt_of([error])
    stopper = seen.attributes.get("stoppedBy") if seen is not None else ""
    if seen is None or not stopper:
        return None
    # The next look shall see what was moved.
    world.inventory.drop(*key)
    return Halt(
        "MailsKeptAway",
        f"receipt rule {stopper} of rule set {seen.attributes['ruleSet']} stands before "
        f"{key[1]} and stops the evaluation, so that mails to some of its recipients never reach it: "
        f"ask the rule set's owner to move {stopper} behind it (aws ses set-receipt-rule-position) "
        "or to take its stop action away",
        after=NOTICED_SECONDS,
        synced=True,
    )
