"""``${SECRET:name#key}`` becomes its value here, at run time, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from weir_contract.secrets import SecretRef, secret_refs, substitute_secrets
from weir_lambdas.common.aws import error_code
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.errors import SecretMissing
from weir_lambdas.common.log import REDACTOR

CACHE_SECONDS = 300.0
"""How long a value is reused: a rotated secret reaches a warm function after that time at most."""

REASONS = {
    "ResourceNotFoundException": "there is no such secret in Secrets Manager",
    "AccessDeniedException": "the function's role may not read it (secretsmanager:GetSecretValue)",
    "InvalidRequestException": "it is marked for deletion",
    "DecryptionFailure": "the function's role may not use its KMS key (kms:Decrypt)",
}


class Secrets:
    """Reads secrets from Secrets Manager.

    Parameters
    ----------
    manager
        A Secrets Manager client.
    ids
        Name as written in the reference -> Secrets Manager id. No other secret is ever read.
    clock
        For the cache's age.
    """

    def __init__(self, manager: Any, ids: Mapping[str, str], clock: Clock) -> None:
        self._manager, self._ids, self._clock = manager, ids, clock
        self._cache: dict[str, tuple[float, str]] = {}
        self._written: dict[str, str] = {}

    def resolve(self, ref: SecretRef) -> str:
        """The value that a reference names.

        Raises
        ------
        SecretMissing
            The secret or its key does not exist, is not granted, or can't be read. The message
            names the reference, never a value.
        """
        text = self._text(ref)
        value = text if ref.json_key is None else _key(text, ref)
        REDACTOR.learn(value)
        self._written[value] = written(ref)
        return value

    def fill(self, text: str) -> str:
        """The text with every reference replaced by its value."""
        return substitute_secrets(text, self.resolve)

    def fill_all(self, value: Any) -> Any:
        """Any nesting of dicts, lists and texts, with every reference replaced by its value."""
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, Mapping):
            return {key: self.fill_all(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fill_all(item) for item in value]
        return value

    def conceal(self, text: str) -> str:
        """The text with every value that was resolved put back into its reference's form.

        For what is stored between runs, such as a next link that echoes the caller's key.
        """
        for value in sorted(self._written, key=len, reverse=True):
            if len(value) >= 4:
                text = text.replace(value, self._written[value])
        return text

    def _text(self, ref: SecretRef) -> str:
        now = self._clock.monotonic()
        cached = self._cache.get(ref.name)
        if cached and now - cached[0] < CACHE_SECONDS:
            return cached[1]
        if ref.name not in self._ids:
            raise SecretMissing("the source was not granted this secret", written(ref))
        try:
            answer = self._manager.get_secret_value(SecretId=self._ids[ref.name])
        except ClientError as error:
            code = error_code(error)
            raise SecretMissing(
                REASONS.get(code, f"Secrets Manager answered {code}"), written(ref)
            ) from error
        if "SecretString" not in answer:
            raise SecretMissing("holds binary data; a header needs text", written(ref))
        text = str(answer["SecretString"])
        self._cache[ref.name] = (now, text)
        return text


def written(ref: SecretRef) -> str:
    """A reference as a user writes it."""
    return f"${{SECRET:{ref.name}{'#' + ref.json_key if ref.json_key else ''}}}"


def has_secret(text: str) -> bool:
    """Whether a text holds a reference to a secret."""
    return next(secret_refs(text), None) is not None


def _key(text: str, ref: SecretRef) -> str:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise SecretMissing(
            "the secret is no JSON object, so it has no keys", written(ref)
        ) from error
    value = data.get(ref.json_key) if isinstance(data, dict) else None
    if value is None or isinstance(value, (dict, list)):
        raise SecretMissing("the secret's JSON has no such key with a plain value", written(ref))
    return str(value)
