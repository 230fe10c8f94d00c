"""Asks Lambda whether its pollers can read a source: what they can't reaches no function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from weir_contract.pollers import trouble
from weir_lambdas.common.errors import SourceUnread
from weir_lambdas.common.log import log


def unread(client: Any, mappings: Sequence[str]) -> SourceUnread | None:
    """Why one of a source's mappings brings nothing, or None where all do, or none can be asked.

    Parameters
    ----------
    client
        AWS Lambda's.
    mappings
        Their ids.
    """
    for uuid in mappings:
        try:
            found = trouble(client.get_event_source_mapping(UUID=uuid))
        except (BotoCoreError, ClientError) as error:
            # One that was just replaced, or a network that does not lead to Lambda's API: what waits
            # is sealed all the same.
            log("WARNING", "a mapping can't be looked at", mapping=uuid, reason=str(error))
            return None
        if found:
            return SourceUnread(found)
    return None
