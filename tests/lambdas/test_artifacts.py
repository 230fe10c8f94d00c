"""The artifacts: equal code gives equal bytes, and what is in them runs."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ARTIFACTS = Path(__file__).parents[2] / "dist" / "artifacts"
SCRIPT = Path(__file__).parents[2] / "lambdas" / "build_artifacts.py"
_spec = importlib.util.spec_from_file_location("build_artifacts", SCRIPT)
assert _spec is not None and _spec.loader is not None
artifacts = importlib.util.module_from_spec(_spec)
sys.modules["build_artifacts"] = artifacts
_spec.loader.exec_module(artifacts)

HANDLERS = (
    "weir_lambdas.api_ingestion.handler",
    "weir_lambdas.trigger.handler",
    "weir_lambdas.run_control.handler",
    "weir_lambdas.redshift_loader.handler",
)


@pytest.fixture(scope="module")
def built() -> Path:
    """What ``make artifacts`` has built, brought up to date where it is not."""
    assert artifacts.main(["--out", str(ARTIFACTS)]) == 0
    return ARTIFACTS


BEGIN = """
import importlib, sys
from importlib.machinery import SourceFileLoader
sys.path[:0] = [here]; sys.path.append(runtime)
own = SourceFileLoader.source_to_code
def source_to_code(self, data, path, **options):
    assert not path.startswith(here), f"each cold start would compile {path}"
    return own(self, data, path, **options)
SourceFileLoader.source_to_code = source_to_code
"""
SDK = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py")
"""What Lambda's runtime brings (Lambda Developer Guide, *Runtime-included SDK versions*)."""


def run_alone(archive: Path, folder: Path, checks: str) -> None:
    """Run checks in an interpreter that has the archive and the runtime's SDK and nothing else.

    :param folder: where the archive is unpacked
    :param checks: code that finds the folder in ``here``
    """
    here, runtime = folder / "task", folder / "runtime"
    zipfile.ZipFile(archive).extractall(here)
    runtime.mkdir()
    spec = importlib.util.find_spec("boto3")
    assert spec is not None and spec.origin is not None
    for name in SDK:
        (runtime / name).symlink_to(Path(spec.origin).parents[1] / name)
    begin = f"here, runtime = {str(here)!r}, {str(runtime)!r}\n{BEGIN}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", begin + checks],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_index_names_files_and_their_hashes(built: Path) -> None:
    index = json.loads((built / "artifacts.json").read_text())
    assert set(index) == {"functions", "files", "streams", "glue", "glueScript"}
    for entry in index.values():
        digest = hashlib.sha256((built / entry["file"]).read_bytes())
        assert entry["sha256"] == digest.hexdigest()
        assert entry["codeSha256"] == base64.b64encode(digest.digest()).decode()


def test_a_second_build_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    assert artifacts.build(tmp_path, artifacts.Target()) == json.loads(
        (built / "artifacts.json").read_text()
    )


@pytest.mark.parametrize("platform", [one for one in artifacts.PLATFORMS if one != "host"])
def test_every_dependency_has_a_wheel_for_every_platform(platform: str, tmp_path: Path) -> None:
    wanted = {
        *artifacts.FUNCTION_DEPENDENCIES,
        *artifacts.SIGNING_DEPENDENCIES,
        *artifacts.FILE_DEPENDENCIES,
        *artifacts.STREAM_DEPENDENCIES,
    }
    pins = tmp_path / "pins.in"
    pins.write_text("".join(f"{artifacts.pinned(name)}\n" for name in sorted(wanted)))
    command = [str(artifacts.OWN_UV), "pip", "compile", "--quiet", "--no-deps", str(pins)]
    command += artifacts.Target(platform).pip_options()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_archive_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "b.py", tmp_path / "a.py"
    one.write_text("1")
    two.write_text("2")
    artifacts.write_zip(tmp_path / "x.zip", [("b.py", one), ("a.py", two)])
    os.utime(one, (0, 0))
    one.chmod(0o600)
    artifacts.write_zip(tmp_path / "y.zip", [("a.py", two), ("b.py", one)])
    assert (tmp_path / "x.zip").read_bytes() == (tmp_path / "y.zip").read_bytes()


def test_the_functions_are_small_and_import_from_the_archive_alone(
    built: Path, tmp_path: Path
) -> None:
    archive = built / "functions.zip"
    assert archive.stat().st_size < 15_000_000
    names = zipfile.ZipFile(archive).namelist()
    assert not any("boto" in name for name in names)
    script = (
        f"for name in {HANDLERS!r}:\n"
        f"    module = importlib.import_module(name)\n"
        f"    assert module.__file__.startswith(here), module.__file__\n"
        f"    assert callable(module.handler)\n"
        f"import urllib3, weir_contract\n"
        f"assert urllib3.__file__.startswith(here)\n"
        f"assert 'cryptography' not in sys.modules, 'a cold start pays for what it may not need'\n"
        f"assert 'sqlglot' not in sys.modules and 'pyspark' not in sys.modules\n"
    )
    run_alone(archive, tmp_path, script)


def test_compiled_modules_are_taken_as_they_are_and_tell_where_lambda_has_their_source(
    built: Path,
) -> None:
    with zipfile.ZipFile(built / "functions.zip") as archive:
        module = archive.read("weir_lambdas/trigger/__pycache__/handler.cpython-311.pyc")
    hashed_and_unchecked = 0b01  # PEP 552
    assert module[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(module[4:8], "little") == hashed_and_unchecked
    assert marshal.loads(module[16:]).co_filename == "/var/task/weir_lambdas/trigger/handler.py"


def test_a_runtime_whose_python_is_not_here_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"python find .* 3\.1 failed"):
        artifacts.compiled([("a.py", SCRIPT)], artifacts.Target(python="3.1"), tmp_path)


def test_the_glue_archive_has_the_job_its_contract_and_its_parser(built: Path) -> None:
    names = zipfile.ZipFile(built / "glue.zip").namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"weir_glue", "weir_contract", "sqlglot"} <= tops
    assert not any(name.endswith(".so") for name in names)


def test_the_archive_that_reads_files_reads_each_format_from_itself_alone(
    built: Path, tmp_path: Path
) -> None:
    archive = built / "files.zip"
    assert archive.stat().st_size < 60_000_000
    modules = (
        "weir_lambdas.file_processor.handler",
        "weir_lambdas.email_processor.handler",
        "weir_lambdas.metadata_extractor.handler",
        "weir_lambdas.metadata_extractor.parquet",
        "weir_lambdas.file_processor.formats.table",
        "weir_lambdas.file_processor.formats.workbook",
        "pyarrow.parquet",
        "pyarrow.orc",
        "fastavro",
        "python_calamine",
        "py7zr",
        "pyzipper",
        "backports.zstd",
    )
    script = (
        f"for name in {modules!r}:\n"
        f"    module = importlib.import_module(name)\n"
        f"    assert module.__file__.startswith(here), module.__file__\n"
        f"from weir_lambdas.file_processor.formats.table import READERS, reader\n"
        f"assert [reader(name) for name in READERS]\n"
        f"import fastavro, io\n"
        f"for codec in ('deflate', 'snappy', 'zstandard', 'lz4', 'bzip2', 'xz'):\n"
        f"    body = io.BytesIO()\n"
        f"    fastavro.writer(body, 'long', [1, 2], codec=codec)\n"
        f"    body.seek(0)\n"
        f"    assert list(fastavro.reader(body)) == [1, 2], codec\n"
    )
    run_alone(archive, tmp_path, script)


def test_the_archive_that_reads_streams_reads_each_format_from_itself_alone(
    built: Path, tmp_path: Path
) -> None:
    archive = built / "streams.zip"
    assert archive.stat().st_size < 15_000_000
    script = (
        "for name in ('receive', 'handler'):\n"
        "    module = importlib.import_module(f'weir_lambdas.stream_processor.{name}')\n"
        "    assert module.__file__.startswith(here), module.__file__\n"
        "    assert callable(module.handler)\n"
        "late = {'fastavro', 'google.protobuf', 'kafka', 'pyarrow'} & set(sys.modules)\n"
        "assert not late, f'a cold start pays for {late}, which it may not need'\n"
        "for name in ('avro', 'protobuf', 'brokers'):\n"
        "    importlib.import_module(f'weir_lambdas.stream_processor.{name}')\n"
        "for name in ('fastavro', 'google.protobuf', 'kafka', 'lz4', 'snappy', 'crc32c'):\n"
        "    assert sys.modules[name].__file__.startswith(here), name\n"
    )
    run_alone(archive, tmp_path, script)
