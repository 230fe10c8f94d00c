"""What Lambda's pollers say of a queue or stream that they can't read: nothing of it reaches a function.

Source: AWS Lambda API reference, *GetEventSourceMapping* (``LastProcessingResult``); AWS Lambda Developer
Guide, *Troubleshooting Kafka event source mapping errors*.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REASON = "SourceUnread"
"""What it is called: a run's error, and the reason of the condition Flowing."""
ADVICE = (
    "Check who reads (the login that the source names, and its secret; of Kinesis, a queue and iam: {} "
    "the function's role), what that may do with the stream, topic, group or queue, and whether the "
    "network leads there. The pollers try again by themselves; records wait in the source."
)

PROBLEM = "PROBLEM:"
OURS = "Function call failed"
"""What they say of the receiving function: they have read then, and it counts its failures itself."""


def trouble(mapping: Mapping[str, Any]) -> str:
    """What keeps a mapping's pollers from reading, and where; nothing where they read.

    Parameters
    ----------
    mapping
        As *GetEventSourceMapping* and *ListEventSourceMappings* tell it.
    """
    told = str(mapping.get("LastProcessingResult") or "")
    if mapping.get("State") != "Enabled" or not told.startswith(PROBLEM) or OURS in told:
        return ""
    topics = ", ".join(mapping.get("Topics") or ())
    place = f"the topic {topics}" if topics else str(mapping.get("EventSourceArn") or "")
    return f"{place}: Lambda's pollers say: {told.removeprefix(PROBLEM).strip()}"


def advised(problem: str) -> str:
    """A problem as :func:`trouble` tells it, with what to do about it."""
    return f"{problem.rstrip('.')}. {ADVICE}"
