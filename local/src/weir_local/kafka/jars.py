"""The jars of a Kafka broker: resolved once into a cache, then used without a network.

Ivy, which pyspark ships, resolves them: Spark's own resolver would leave out Scala's library. One more
is compiled here: what makes a listener take logins by IAM.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
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


SOURCE = Path(__file__).parent / "java" / "weir" / "Iam.java"


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


def mark() -> str:
    """What tells this state of the source from others."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]


def own() -> Path:
    """The jar of what is compiled here."""
    return cache() / f"weir-iam-{mark()}.jar"


def jars() -> list[Path]:
    """The jars for the broker's class path; our own is the last.

    :raises JarsMissing: they were never resolved
    """
    found = [*resolved(), own()] if own().exists() else []
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
    """Resolve the jars, and compile our own, where they are missing.

    :returns: lines that say what is done
    :raises JarsMissing: the resolution or the compilation failed
    """
    if not resolved():
        yield from resolve()
    if not own().exists():
        build()


def build() -> None:
    """Compile our own jar.

    :raises JarsMissing: there is no compiler, or it refused the source
    """
    if shutil.which("javac") is None:
        raise JarsMissing(
            "javac is missing, which compiles what lets Kafka's broker judge logins by IAM: install "
            "a JDK 17 where there is a JRE alone"
        )
    path = ":".join(str(jar) for jar in resolved())
    with tempfile.TemporaryDirectory(dir=cache()) as directory:
        done = subprocess.run(
            ["javac", "--release", "17", "-proc:none", "-cp", path, "-d", directory, str(SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise JarsMissing(f"{SOURCE} was not compiled:\n{done.stdout}{done.stderr}")
        made = Path(directory) / "made.jar"
        with zipfile.ZipFile(made, "w") as jar:
            for each in sorted(Path(directory).rglob("*.class")):
                jar.write(each, each.relative_to(directory))
        made.replace(own())


def resolve() -> Iterator[str]:
    """Resolve the jars.

    :returns: lines that say what is done
    :raises JarsMissing: the resolution failed
    """
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
