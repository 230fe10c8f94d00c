"""The AWS clients of a function: made once a process, with timeouts and retries said aloud.

A cold start waits for the first of them, so they are botocore's own, made without what boto3 adds
(resources, S3 transfers), and their models are read as fast as can be.
"""

from __future__ import annotations

import functools
import gzip
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import JSONFileLoader, Loader

CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5}
)
BRIEF = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
)
"""For what is worth no wait."""

SERVICES = (
    "dynamodb",
    "glue",
    "kafka",
    "kinesis",
    "lambda",
    "redshift-data",
    "s3",
    "secretsmanager",
    "stepfunctions",
    "workmailmessageflow",
)
"""All that a function speaks to, as botocore names them."""


class ModelFiles(JSONFileLoader):
    """Reads botocore's JSON with msgspec: several times as fast, a tenth of a second at a start."""

    def load_file(self, file_path: str) -> Any:
        """The content of a file, which is named without its ending; None where there is none."""
        packed, plain = Path(f"{file_path}.json.gz"), Path(f"{file_path}.json")
        if plain.is_file():
            return msgspec.json.decode(plain.read_bytes())
        if packed.is_file():
            return msgspec.json.decode(gzip.decompress(packed.read_bytes()))
        return None


class Models(Loader):
    """Finds the models of our services without a look into the directories of all the others."""

    FILE_LOADER_CLASS = ModelFiles

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002
        """What botocore looks for a service's name in, at each first client of a service."""
        return list(SERVICES)


@functools.cache
def session() -> botocore.session.Session:
    """The process's session: credentials and region come from the environment."""
    made = botocore.session.get_session()
    made.register_component("data_loader", Models())
    return made


@functools.cache
def client(service: str, config: Config = CONFIG) -> Any:
    """The process's client of one of :data:`SERVICES`; its endpoint comes from the environment."""
    return session().create_client(service, config=config)


def error_code(error: ClientError) -> str:
    """The AWS error code, such as ``ConditionalCheckFailedException``."""
    return str(error.response.get("Error", {}).get("Code", ""))
