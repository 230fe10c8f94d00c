"""What Lambda's pollers say of a source that they can't read: nothing else of it reaches a function.

Source: AWS Lambda API reference, *GetEventSourceMapping* (``LastProcessingResult``); AWS Lambda Developer
Guide, *Troubleshooting Kafka event source mapping errors*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from weir_lambdas.common.errors import SourceUnread
from weir_lambdas.common.log import log

PROBLEM = "PROBLEM:"
OURS = "Function call failed"
"""What they say of the receiving function: it has read then, and counts its failures itself."""


def trouble(mapping: Mapping[str, Any]) -> SourceUnread | None:
    """Why a mapping brings nothing, or None.

    Parameters
    ----------
    mapping
        As *GetEventSourceMapping* tells it.
    """
    told = str(mapping.get("LastProcessingResult") or "")
    if mapping.get("State") != "Enabled" or not told.startswith(PROBLEM) or OURS in told:
        return None
    topics = ", ".join(mapping.get("Topics") or ())
    place = f"the topic {topics}" if topics else str(mapping.get("EventSourceArn") or "")
    return SourceUnread(f"Lambda's pollers say: {told.removeprefix(PROBLEM).strip()}", place)


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
        if found is not None:
            return found
    return None
