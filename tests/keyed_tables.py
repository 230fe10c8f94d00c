"""How tests make a DynamoDB table with Weir's keys."""

from __future__ import annotations

from typing import Any

KEYED: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
    ],
}
"""Of CreateTable: the keys ``pk`` and ``sk``, as the state table has them."""
