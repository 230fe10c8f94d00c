"""The jars of a Kafka broker: resolved once into a cache, then used without a network.

Ivy, which pyspark ships, resolves them: Spark's own resolver would leave out Scala's library.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

VERSION = "4.2.1"
"""Runs on Java 17, which Weir's prerequisites ask for."""

MODULE = f"""\
<ivy-module version="2.0">
  <info organisation="weir" module="kafka"/>
  <configurations><conf name="default"/></configurations>
  <dependencies>
    <dependency org="org.apache.kafka" name="kafka_2.13" rev="{VERSION}"
                conf="default->runtime,master"/>
    <dependency org="org.slf4j" name="slf4j-simple" rev="1.7.36" conf="default->master"/>
  </dependencies>
</ivy-module>
"""

NEEDED = (f"org.apache.kafka_kafka_2.13-{VERSION}", "org.scala-lang_scala-library", "org.slf4j_")


class JarsMissing(Exception):
    """The jars are not in the cache; the message says how to get them."""


def cache() -> Path:
    """Kafka's directory in Weir's cache (WEIR_CACHE, by default ~/.cache/weir)."""
    found = os.environ.get("WEIR_CACHE") or str(Path.home() / ".cache" / "weir")
    return Path(found) / "kafka"


def resolved() -> list[Path]:
    """The jars in the cache; empty when one of those needed is missing."""
    found = sorted((cache() / f"jars-{VERSION}").glob("*.jar"))
    names = [jar.name for jar in found]
    complete = all(any(name.startswith(need) for name in names) for need in NEEDED)
    return found if complete else []


def jars() -> list[Path]:
    """The jars for the broker's class path.

    :raises JarsMissing: they were never resolved
    """
    found = resolved()
    if not found:
        raise JarsMissing(
            f"Kafka's jars are not in {cache()}: run `python -m weir_local warm` once"
        )
    return found


def ivy() -> Path:
    """Ivy's jar in pyspark."""
    spec = find_spec("pyspark")
    places = spec.submodule_search_locations if spec else None
    for place in places or []:
        for jar in (Path(place) / "jars").glob("ivy-*.jar"):
            return jar
    raise JarsMissing("pyspark, whose Ivy fetches Kafka, is not installed")


def warm() -> Iterator[str]:
    """Resolve the jars if they are missing.

    :returns: lines that say what is done
    :raises JarsMissing: the resolution failed
    """
    if resolved():
        return
    yield f"downloading Apache Kafka {VERSION} and what it needs (about 42 MB) into {cache()}"
    with tempfile.TemporaryDirectory() as directory:
        module = Path(directory) / "ivy.xml"
        module.write_text(MODULE)
        pattern = f"{cache()}/jars-{VERSION}/[organisation]_[artifact]-[revision].[ext]"
        done = subprocess.run(
            [
                *("java", "-jar", str(ivy())),
                *("-ivy", str(module)),
                *("-cache", str(cache() / "ivy")),
                *("-confs", "default"),
                *("-types", "jar", "bundle"),
                *("-retrieve", pattern),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or not resolved():
        raise JarsMissing(f"could not resolve Kafka into {cache()}:\n{done.stdout[-2000:]}")
