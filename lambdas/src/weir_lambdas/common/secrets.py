"""``${SECRET:name#key}`` becomes its value here, at run time, and nowhere else."""

from __future__ import annotations

import json
import threading
import uuid
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


WRITE_REASONS = {
    "AccessDeniedException": "the function's role may not write it "
    "(secretsmanager:PutSecretValue, secretsmanager:UpdateSecretVersionStage): is it the "
    "namespace's own?",
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
        self._versions: dict[str, str] = {}
        self._lock = threading.RLock()

    def resolve(self, ref: SecretRef) -> str:
        """The value that a reference names.

        Raises
        ------
        SecretMissing
            The secret or its key does not exist, is not granted, or can't be read. The message
            names the reference, never a value.
        """
        with self._lock:
            text = self._text(ref)
        value = text if ref.json_key is None else _key(text, ref)
        REDACTOR.learn(value)
        self._written[value] = written(ref)
        return value

    def document(self, name: str) -> tuple[dict[str, Any], str]:
        """A secret that is a JSON object, read anew, with its version's id.

        Raises
        ------
        SecretMissing
            It can't be read, or is no JSON object.
        """
        self._cache.pop(name, None)
        ref = SecretRef(name)
        text = self._text(ref)
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SecretMissing("the secret is no JSON object", written(ref)) from error
        if not isinstance(data, dict):
            raise SecretMissing("the secret is no JSON object", written(ref))
        for value in data.values():
            if isinstance(value, str):
                REDACTOR.learn(value)
        return data, self._versions[name]

    def rotate(self, name: str, data: Mapping[str, Any], version: str) -> bool:
        """Write a new value, if the version that was read is the current one still.

        The new version comes in without a stage of its own; moving ``AWSCURRENT`` from the version
        that was read is the comparison: of two writers one wins.

        Returns
        -------
        bool
            False where another version is current by now; the new value is not used then.

        Raises
        ------
        SecretMissing
            The function's role may not write it.
        """
        secret = self._ids[name]
        token = str(uuid.uuid4())
        try:
            self._manager.put_secret_value(
                SecretId=secret,
                ClientRequestToken=token,
                SecretString=json.dumps(dict(data)),
                VersionStages=[f"weir-{token[:8]}"],
            )
            self._manager.update_secret_version_stage(
                SecretId=secret,
                VersionStage="AWSCURRENT",
                MoveToVersionId=token,
                RemoveFromVersionId=version,
            )
        except ClientError as error:
            code = error_code(error)
            if code in ("InvalidParameterException", "InvalidRequestException"):
                return False
            reason = WRITE_REASONS.get(code, f"Secrets Manager answered {code}")
            raise SecretMissing(reason, written(SecretRef(name))) from error
        self._cache.pop(name, None)
        return True

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
        known = dict(self._written)
        for value in sorted(known, key=len, reverse=True):
            if len(value) >= 4:
                text = text.replace(value, known[value])
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
        self._versions[ref.name] = str(answer.get("VersionId", ""))
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
