"""The function that WorkMail's message flow calls with a mail: it stores the mail, once.

Legacy: AWS ends WorkMail on 31 March 2027. A rule of an organization (*Run Lambda*) calls it with the
envelope and an id, by which the mail itself is read for a day (WorkMail Administrator Guide,
*Configuring AWS Lambda for Amazon WorkMail*, *Retrieving message content with AWS Lambda*). What is
stored takes the way of all mails from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_contract.moments import iso
from weir_contract.sources import Email, SourceConfig
from weir_contract.state import source_pk, workmail_sk
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import Clock, SystemClock
from weir_lambdas.common.config import load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update
from weir_lambdas.common.storage import Storage
from weir_lambdas.email_processor.envelope import of_event, written

DELIVER: dict[str, Any] = {"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": True}]}
"""What a synchronous rule is answered: the mail goes on to its mailboxes. An asynchronous rule does
not look at it."""

MESSAGE_ID = re.compile(r"[a-z0-9-]{1,120}")
"""The form of a message id (WorkMail API Reference, *GetRawMessageContent*)."""

TYPE = "message/rfc822"


@dataclass(frozen=True)
class Receiver:
    """Stores mails of one source.

    Parameters
    ----------
    flow
        A client of ``workmailmessageflow``.
    """

    config: SourceConfig
    flow: Any
    storage: Storage
    table: Table
    clock: Clock

    def take(self, event: Mapping[str, Any]) -> bool:
        """Store the mail of an event of WorkMail; whether it was not there yet.

        Raises
        ------
        ConfigInvalid
            The source has no organization, or the event is none of WorkMail.
        ClientError
            The mail could not be read or stored. WorkMail calls again where the rule waits.
        """
        email = self.config.email
        if email is None or email.workmail is None:
            raise ConfigInvalid("the source has no organization of WorkMail", self.config.id)
        message = str(event.get("messageId") or "")
        if not MESSAGE_ID.fullmatch(message):
            raise ConfigInvalid(
                "this is no event of a WorkMail rule: it has no message id", "the event"
            )
        if event.get("flowDirection") != "INBOUND":
            log("WARNING", "a mail that goes out was passed and is not taken", mail=message)
            return False
        new = self._store(email, email.workmail, message, event)
        log("INFO", "a mail has come from WorkMail", mail=message, stored=new)
        return new

    def _store(
        self, email: Email, organization: str, message: str, event: Mapping[str, Any]
    ) -> bool:
        raw = self.flow.get_raw_message_content(messageId=message)["messageContent"].read()
        body = written(of_event(event, organization)) + raw
        try:
            self.storage.put_new(email.bucket, f"{email.prefix}{message}", body, TYPE)
            new = True
        except FileExistsError:
            new = False
        # Behind the mail: who reads that one has come finds it.
        came = Update(
            "SET firstAt = if_not_exists(firstAt, :now), lastAt = :now",
            {"now": iso(self.clock.now())},
        )
        self.table.update(source_pk(self.config.id), workmail_sk(organization), came)
        return new


@entry
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        As WorkMail calls: ``messageId``, ``envelope``, ``flowDirection`` (WorkMail Administrator
        Guide, *Lambda event data*).
    context
        Lambda's; not looked at.

    Returns
    -------
    dict
        :data:`DELIVER`.

    Raises
    ------
    WeirError, ClientError
        The mail is not stored.
    """
    del context
    config = load_config(SourceConfig)
    storage = Storage(client("s3"), config.kms_key_arn)
    table = Table(client("dynamodb"), config.state_table)
    Receiver(config, client("workmailmessageflow"), storage, table, SystemClock()).take(event)
    return DELIVER
