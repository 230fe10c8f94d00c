"""A function's configuration: the S3 object that the environment variable WEIR_CONFIG names."""

from __future__ import annotations

import functools
import os
from typing import TypeVar

from weir_contract.codec import ContractError, loads
from weir_lambdas.common.aws import client
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.storage import Storage

T = TypeVar("T")


def environment(name: str) -> str:
    """The value of an environment variable that must be there.

    Raises
    ------
    ConfigInvalid
        It is not set.
    """
    value = os.environ.get(name)
    if not value:
        raise ConfigInvalid("the function's environment lacks it", name)
    return value


def load_config(cls: type[T]) -> T:
    """Read the configuration; its key carries its hash, so one read serves the process's life.

    Raises
    ------
    ConfigInvalid
        It is missing or has another shape than this code expects.
    """
    uri = environment("WEIR_CONFIG")
    try:
        return loads(cls, _read(uri))
    except ContractError as error:
        raise ConfigInvalid(str(error), uri) from error


@functools.lru_cache(maxsize=8)
def _read(uri: str) -> bytes:
    try:
        return Storage(client("s3")).get_uri(uri)
    except FileNotFoundError as error:
        raise ConfigInvalid("there is no such object", uri) from error
