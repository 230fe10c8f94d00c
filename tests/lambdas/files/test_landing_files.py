"""From objects in a bucket to committed manifests: each file once, whatever happens."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain, repeat
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from weir_contract.codec import loads
from weir_contract.manifest import Manifest, manifest_prefix
from weir_contract.rows import Field, RowContract
from weir_contract.sources import CsvDialect, Files, Parsing, SourceConfig
from weir_contract.state import CHECKPOINT, source_pk
from weir_lambdas.common import storage as storage_module
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.state import Table, Update, putting
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor import output, reading
from weir_lambdas.file_processor.arrivals import arrive, enter_again, located_in, sweep
from weir_lambdas.file_processor.formats import cuts
from weir_lambdas.file_processor.ledger import Ledger, file_id
from weir_lambdas.file_processor.reading import Located
from weir_lambdas.file_processor.source import FileSource
from weir_lambdas.landing import pieces
from weir_lambdas.landing.batch import Window
from weir_lambdas.landing.land import Lander, Landing

SOURCE = "shop/orders"


@dataclass
class Rig:
    """One source of files on the local AWS."""

    s3: Any
    table: Table
    config: SourceConfig

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.table, SOURCE)

    @property
    def files(self) -> Files:
        assert self.config.files is not None
        return self.config.files

    def upload(self, key: str, body: bytes) -> Located:
        self.s3.put_object(Bucket=self.files.bucket, Key=key, Body=body)
        head = self.s3.head_object(Bucket=self.files.bucket, Key=key)
        etag, version = head["ETag"].strip('"'), head.get("VersionId")
        return Located(self.files.bucket, key, etag, len(body), version)

    def arrive(self, located: Located, sequencer: str = "") -> bool:
        return self.ledger.arrive(located, datetime.now(UTC), sequencer)

    def land(self, run: str, s3: Any = None, looks: int = 1_000_000_000) -> Landing:
        """Land what waits; after so many looks at the clock the call's time is up."""
        storage = Storage(s3 or self.s3)
        source = FileSource(self.config, s3 or self.s3, storage, self.ledger)
        left = chain(repeat(600.0, looks), repeat(5.0))
        return Lander(
            self.config, source, self.table, storage, SystemClock(), lambda: next(left)
        ).land(run, None, None)

    def manifests(self) -> list[Manifest]:
        storage = Storage(self.s3)
        bucket = self.config.raw_bucket
        keys = storage.keys(bucket, manifest_prefix(SOURCE))
        return [loads(Manifest, storage.get(bucket, key)) for key in keys]

    def records(self) -> list[dict[str, Any]]:
        """Every record of the committed manifests."""
        found: list[dict[str, Any]] = []
        for manifest in self.manifests():
            for part in manifest.parts:
                body = Storage(self.s3).get(manifest.bucket, part.key)
                if part.format == "parquet":
                    rows = pq.read_table(io.BytesIO(body)).to_pylist()
                else:
                    text = gzip.decompress(body) if part.key.endswith(".gz") else body
                    rows = [json.loads(line) for line in text.splitlines()]
                assert len(rows) == part.rows
                found += rows
        return found

    def quarantined(self) -> list[dict[str, Any]]:
        storage = Storage(self.s3)
        return [
            json.loads(line)
            for key in storage.keys(self.config.quarantine_bucket, "")
            for line in gzip.decompress(
                storage.get(self.config.quarantine_bucket, key)
            ).splitlines()
        ]


@pytest.fixture
def rig(aws: Callable[[str], Any], new_bucket: Callable[[], str], table: Table) -> Rig:
    config = SourceConfig(
        platform="default",
        namespace="shop",
        name="orders",
        raw_bucket=new_bucket(),
        state_table=table.name,
        contract=RowContract(),
        quarantine_bucket=new_bucket(),
        files=Files(new_bucket(), "in/", "**/*.csv", Parsing("csv")),
    )
    return Rig(aws("s3"), table, config)


def test_files_are_landed_in_the_order_in_which_they_came(rig: Rig) -> None:
    for name in ("b", "a"):
        rig.arrive(rig.upload(f"in/{name}.csv", f"id\n{name}1\n{name}2\n".encode()))
    landing = rig.land("r1")
    assert (landing.rows, landing.sequence, landing.complete) == (4, 1, True)
    assert [row["id"] for row in rig.records()] == ["b1", "b2", "a1", "a2"]
    (manifest,) = rig.manifests()
    assert [(file.key, file.rows, file.state) for file in manifest.files] == [
        ("in/b.csv", 2, "landed"),
        ("in/a.csv", 2, "landed"),
    ]
    assert manifest.inferred == {"id": "string"}
    assert list(rig.ledger.waiting()) == []


def test_what_was_written_within_one_second_is_landed_in_its_order(rig: Rig) -> None:
    """Of a bucket that keeps versions every state of an object is landed."""
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    rig.s3.put_bucket_versioning(
        Bucket=rig.files.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    wanted = list(range(12))
    for number in wanted:
        answer = rig.s3.put_object(
            Bucket=rig.files.bucket, Key="in/a.csv", Body=f"id\n{number}\n".encode()
        )
        located = Located(
            rig.files.bucket,
            "in/a.csv",
            answer["ETag"].strip('"'),
            len(f"id\n{number}\n"),
            answer["VersionId"],
        )
        rig.ledger.arrive(located, at, f"0055AED6DCD902{number:02X}")
    rig.land("r1")
    assert [int(row["id"]) for row in rig.records()] == wanted


def test_nothing_to_land_writes_no_manifest(rig: Rig) -> None:
    landing = rig.land("r1")
    assert (landing.sequence, landing.rows, landing.complete) == (0, 0, True)
    assert rig.manifests() == []


def test_an_event_twice_a_file_twice_and_the_same_content_land_once(rig: Rig) -> None:
    located = rig.upload("in/a.csv", b"id\n1\n")
    rig.arrive(located)
    rig.arrive(located)
    rig.land("r1")
    rig.arrive(located)
    rig.arrive(rig.upload("in/copy.csv", b"id\n1\n"))
    rig.land("r2")
    assert [row["id"] for row in rig.records()] == ["1"]
    file = rig.manifests()[1].files[0]
    assert file.state == "duplicate" and file.reason.endswith("in/a.csv had the same content")


def test_an_overwritten_file_is_superseded_and_its_new_content_lands(rig: Rig) -> None:
    old = rig.upload("in/a.csv", b"id\n1\n")
    new = rig.upload("in/a.csv", b"id\n2\n")
    rig.arrive(old)
    rig.arrive(new)
    rig.land("r1")
    assert [row["id"] for row in rig.records()] == ["2"]
    assert [file.state for file in rig.manifests()[0].files] == ["superseded", "landed"]


def lands(rig: Rig, duplicates: str, *bodies: bytes, one_by_one: bool) -> list[str]:
    """The ids that land of one object with these contents, each told twice by S3's event."""
    object.__setattr__(rig.config, "files", replace(rig.files, duplicates=duplicates))
    for number, body in enumerate(bodies):
        located = rig.upload("in/a.csv", body)
        for _ in range(2):
            rig.arrive(located, f"{number:016X}")
        if one_by_one or number == len(bodies) - 1:
            rig.land(f"r{number}")
            rig.arrive(located, f"{number:016X}")
    return [row["id"] for row in rig.records()]


OLD, NEW = b"id\n1\n", b"id\n2\n"


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize(
    ("duplicates", "bodies", "wanted"),
    [
        ("skip", (OLD, NEW, OLD), "121"),
        ("land", (OLD, NEW, OLD), "121"),
        ("skip", (OLD, OLD), "1"),
        ("land", (OLD, OLD), "11"),
        ("skip", (OLD, NEW, OLD, OLD, NEW), "1212"),
    ],
)
def test_a_state_that_comes_back_is_another_one_and_the_same_once_more_is_not(
    rig: Rig, duplicates: str, bodies: tuple[bytes, ...], wanted: str, one_by_one: bool
) -> None:
    versions = {"Status": "Enabled"}
    rig.s3.put_bucket_versioning(Bucket=rig.files.bucket, VersioningConfiguration=versions)
    assert lands(rig, duplicates, *bodies, one_by_one=one_by_one) == list(wanted)


def test_what_was_superseded_lands_when_it_comes_back(rig: Rig) -> None:
    old = rig.upload("in/a.csv", OLD)
    rig.arrive(old, "01")
    rig.arrive(rig.upload("in/a.csv", NEW), "02")
    rig.land("r1")
    rig.arrive(rig.upload("in/a.csv", OLD), "03")
    rig.land("r2")
    assert [row["id"] for row in rig.records()] == ["2", "1"]


def test_what_comes_back_within_one_landing_is_news_too(rig: Rig) -> None:
    versions = {"Status": "Enabled"}
    rig.s3.put_bucket_versioning(Bucket=rig.files.bucket, VersioningConfiguration=versions)
    rig.arrive(rig.upload("in/a.csv", OLD), "01")
    rig.land("r1")
    rig.arrive(rig.upload("in/a.csv", NEW), "02")
    rig.arrive(rig.upload("in/a.csv", OLD), "03")
    rig.land("r2")
    assert [row["id"] for row in rig.records()] == ["1", "2", "1"]


def test_a_swept_file_and_its_late_event_are_one(rig: Rig) -> None:
    located = rig.upload("in/a.csv", OLD)
    assert rig.arrive(located)
    assert not rig.arrive(located, "01")
    assert rig.arrive(located, "03")
    assert not rig.arrive(located, "03") and not rig.arrive(located)


def test_a_file_that_is_overwritten_while_it_is_read_never_mixes(rig: Rig) -> None:
    body = b"id\n" + b"1\n" * (5 << 20)
    located = rig.upload("in/a.csv", body)
    rig.arrive(located)

    class Overwriting:
        """Overwrites the object after the first range was read."""

        def __init__(self, s3: Any) -> None:
            self._s3, self._done = s3, False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._s3, name)

        def get_object(self, **asked: Any) -> Any:
            answer = self._s3.get_object(**asked)
            if asked["Key"] == "in/a.csv" and not self._done:
                self._done = True
                self._s3.put_object(
                    Bucket=located.bucket, Key="in/a.csv", Body=b"id\n" + b"2\n" * 9
                )
            return answer

    landing = rig.land("r1", Overwriting(rig.s3))
    states = [file.state for file in rig.manifests()[0].files]
    assert states in (["superseded"], ["landed"])
    if states == ["superseded"]:
        assert landing.rows == 0
    else:
        assert {row["id"] for row in rig.records()} == {"1"}


def test_broken_rows_go_to_quarantine_with_file_and_line(rig: Rig) -> None:
    rig.arrive(rig.upload("in/a.csv", b"a,b\n1,2\n3\n5,6\n"))
    landing = rig.land("r1")
    assert landing.rows == 2
    manifest = rig.manifests()[0]
    assert manifest.quarantined == 1 and manifest.files[0].rejected == 1
    (row,) = rig.quarantined()
    assert row["record"] == "3" and row["stage"] == "land" and row["source"] == SOURCE
    assert row["reason"] == "in/a.csv, line 3: 1 fields instead of 2"


def test_an_unreadable_file_is_rejected_whole_and_does_not_hold_up_the_others(rig: Rig) -> None:
    bad = b"a,b\n1,2\n" + b'"' + b"x" * (9 << 20)
    rig.arrive(rig.upload("in/bad.csv", bad))
    rig.arrive(rig.upload("in/good.csv", b"a,b\n3,4\n"))
    rig.land("r1")
    assert [row["a"] for row in rig.records()] == ["3"]
    assert [file.state for file in rig.manifests()[0].files] == ["rejected", "landed"]
    assert "quote not closed" in rig.quarantined()[0]["reason"]


class Interfering:
    """A client that does something where it is asked for one object's bytes."""

    def __init__(self, s3: Any, key: str, act: Callable[[], None]) -> None:
        self._s3, self._key, self._act = s3, key, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **asked: Any) -> Any:
        if asked["Key"] == self._key:
            self._act()
        return self._s3.get_object(**asked)


def archived() -> None:
    raise ClientError({"Error": {"Code": "InvalidObjectState"}}, "GetObject")


def deadly() -> None:
    os._exit(9)


def test_an_archived_file_is_told_and_does_not_hold_up_the_others(rig: Rig) -> None:
    rig.arrive(rig.upload("in/a.csv", b"id\n1\n"))
    rig.arrive(rig.upload("in/b.csv", b"id\n2\n"))
    assert rig.land("r1", Interfering(rig.s3, "in/a.csv", archived)).rows == 1
    told = {file.key: file.reason for file in rig.manifests()[0].files}
    assert told["in/a.csv"].startswith("it is archived (S3 Glacier): restore it")
    window = Window(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1))
    assert enter_again(rig.s3, rig.ledger, rig.files, window, "restored", force=False) == 1
    assert rig.land("r2").rows == 1


def test_a_file_that_ends_the_process_is_told_after_three_deaths_and_the_others_land(
    rig: Rig,
) -> None:
    for name in ("a", "bad", "c"):
        rig.arrive(rig.upload(f"in/{name}.csv", f"id\n{name}\n".encode()))
    for number in range(3):
        child = os.fork()
        if not child:
            rig.land(f"r{number}", Interfering(rig.s3, "in/bad.csv", deadly))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        rig.table.update(
            source_pk(SOURCE), CHECKPOINT, Update("SET lease_until = :zero", {"zero": 0})
        )
    assert rig.land("r3", Interfering(rig.s3, "in/bad.csv", deadly)).rows == 2
    (told,) = [file for file in rig.manifests()[0].files if file.state == "rejected"]
    assert told.key == "in/bad.csv" and "died each time it read this file" in told.reason
    assert rig.ledger.begin() is None
    rig.ledger.end()


def test_the_sweep_finds_what_no_event_told(rig: Rig) -> None:
    rig.upload("in/x/a.csv", b"id\n1\n")
    rig.upload("in/readme.txt", b"no")
    rig.upload("elsewhere/b.csv", b"id\n2\n")
    assert sweep(rig.s3, rig.ledger, rig.files) == 1
    assert sweep(rig.s3, rig.ledger, rig.files) == 0
    rig.land("r1")
    assert [row["id"] for row in rig.records()] == ["1"]


def test_an_event_enters_a_file_and_starts_the_landing_unless_one_runs(rig: Rig) -> None:
    located = rig.upload("in/a.csv", b"id\n1\n")
    rig.table.transact(
        [
            putting(
                f"WATCH#{rig.files.bucket}",
                SOURCE,
                {"prefix": "in/", "pattern": "**/*.csv", "stateMachineArn": "arn:m"},
            )
        ]
    )
    detail = {
        "bucket": {"name": located.bucket},
        "object": {"key": "in/a.csv", "etag": located.etag, "size": located.size},
    }
    started: list[str] = []
    clock = SystemClock()
    for _ in range(2):
        arrive(rig.table, located_in(detail), clock.now(), clock, started.append)
    assert started == ["arn:m"]
    assert [one.located.key for one in rig.ledger.waiting()] == ["in/a.csv"]


def test_plain_parquet_is_copied_and_not_written_anew(rig: Rig) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "name": ["a", None]}), file)
    object.__setattr__(rig.config, "files", Files(rig.files.bucket, parsing=Parsing("parquet")))
    rig.arrive(rig.upload("p.parquet", file.getvalue()))
    rig.land("r1")
    (part,) = rig.manifests()[0].parts
    assert part.format == "parquet" and part.key.endswith(".copy.parquet")
    assert Storage(rig.s3).get(rig.config.raw_bucket, part.key) == file.getvalue()
    assert rig.manifests()[0].inferred == {"id": "integer", "name": "string"}


def test_what_is_too_large_for_one_copy_is_copied_in_pieces_and_only_as_it_was_meant(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "COPY_BYTES", 1 << 20)
    monkeypatch.setattr(storage_module, "PIECE_BYTES", 5 << 20)
    body, storage, bucket = random.Random(3).randbytes(11 << 20), Storage(rig.s3), rig.files.bucket
    located = rig.upload("large", body)
    origin = (bucket, located.key, None)
    storage.copy(origin, located.etag, len(body), bucket, "copied")
    assert storage.get(bucket, "copied") == body
    rig.upload("large", body[1:])
    with pytest.raises(FileNotFoundError):
        storage.copy(origin, located.etag, len(body), bucket, "mixed")
    assert "mixed" not in list(storage.keys(bucket, "", ""))
    assert not rig.s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


@pytest.mark.parametrize(
    ("body", "suffix"),
    [
        (b'{"id": 1}\n{"id": 2}\n', ".copy.jsonl"),
        (gzip.compress(b'{"id": 1}\n{"id": 2}'), ".copy.jsonl.gz"),
        (b'{"id": 1}\n\n{"id": 2}\n', ".file.jsonl.gz"),
        (b'\xef\xbb\xbf{"id": 1}\n{"id": 2}\n', ".file.jsonl.gz"),
        (b'{"id": 1}\nbad\n{"id": 2}\n', ".file.jsonl.gz"),
    ],
)
def test_json_lines_are_copied_where_spark_counts_as_we_do(
    rig: Rig, body: bytes, suffix: str
) -> None:
    object.__setattr__(rig.config, "files", Files(rig.files.bucket, parsing=Parsing("jsonLines")))
    rig.arrive(rig.upload("x", body))
    rig.land("r1")
    (part,) = rig.manifests()[0].parts
    assert part.key.endswith(suffix) and part.rows == 2
    assert rig.manifests()[0].inferred == {"id": "integer"}
    told = ["x, line 2: it is no JSON object"] if b"bad" in body else []
    assert [row["reason"] for row in rig.quarantined()] == told


def test_stated_columns_are_typed_from_what_they_hold(rig: Rig) -> None:
    contract = RowContract(fields=(Field("key", "id"), Field("name", "n", "string")))
    object.__setattr__(rig.config, "contract", contract)
    rig.arrive(rig.upload("in/a.csv", b"id,n\n1,2\n"))
    rig.land("r1")
    assert rig.manifests()[0].inferred == {"key": "integer"}


class Died(BaseException):
    """The worker was killed."""


class Dying:
    """A client that dies at its n-th call, before it or after it took effect."""

    def __init__(self, inner: Any, left: list[int], after: bool) -> None:
        self._inner, self._left, self._after = inner, left, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name.startswith("_"):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left[0] -= 1
            if self._left[0] == 0 and not self._after:
                raise Died
            answer = found(*args, **kwargs)
            if self._left[0] == 0:
                raise Died
            return answer

        return call


def test_twenty_rounds_of_death_repeats_and_disorder_land_every_record_once(
    rig: Rig, small_pieces: None
) -> None:
    chance = random.Random(7)
    expected: set[str] = set()
    sent: list[Located] = []
    for round_ in range(20):
        for number in range(chance.randint(1, 3)):
            ids = [f"{round_}-{number}-{row}" for row in range(chance.randint(1, 40))]
            expected |= set(ids)
            body = "id\n" + "".join(f"{one}\n" for one in ids)
            sent.append(rig.upload(f"in/{round_}-{number}.csv", body.encode()))
        events = [*chance.sample(sent, min(3, len(sent))), *sent[-3:]]
        chance.shuffle(events)
        for located in events:
            rig.arrive(located)
        left = [chance.randint(1, 14)]
        s3 = Dying(rig.s3, left, chance.random() < 0.5)
        db = Dying(rig.table._db, left, chance.random() < 0.5)
        dying = Rig(s3, Table(db, rig.table.name), rig.config)
        try:
            dying.land(f"run-{round_}", s3, chance.choice([1, 2, 4, 1000]))
        except Died:
            pass
        end_lease(rig)
    ids = [f"long-{row}" for row in range(40)]
    expected |= set(ids)
    sent.append(rig.upload("in/long.csv", "\n".join(["id", *ids, ""]).encode()))
    for located in sent:
        rig.arrive(located)
    for looks in range(1, 15):
        rig.land(f"cut-{looks}", looks=looks)
        end_lease(rig)
    while not rig.land("last").complete:
        pass
    assert list(rig.ledger.waiting()) == []
    pieces = [part.rows for manifest in rig.manifests() for part in manifest.parts]
    assert len(pieces) > len(sent)
    landed = [row["id"] for row in rig.records()]
    assert len(landed) == len(set(landed)) == len(expected)
    assert set(landed) == expected


def end_lease(rig: Rig) -> None:
    """Another run goes on once the lease has ended, whether the last one died or only stopped."""
    rig.table.update(
        f"SOURCE#{SOURCE}", "CHECKPOINT", Update("SET lease_until = :zero", {"zero": 0})
    )


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are read 64 bytes at a time, and the clock is looked at after each record."""
    monkeypatch.setattr(reading, "RANGE_BYTES", 100)
    monkeypatch.setattr(cuts, "BLOCK_BYTES", 64)
    monkeypatch.setattr(pieces, "WINDOW_BYTES", 64)
    monkeypatch.setattr(output, "CHECK_RECORDS", 1)


def zipped(**files: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return body.getvalue()


ROWS = [{"id": f"{number}", "note": "two\nlines" if number % 5 else "x"} for number in range(30)]
CSV = b"id,note\n" + b"".join(
    b'%s,"%s"\n%s' % (row["id"].encode(), row["note"].encode(), b"bad\n" if place % 7 == 3 else b"")
    for place, row in enumerate(ROWS)
)
AT = CSV.index(b"\n7,") + 1
TWO_MEMBERS = zipped(**{"a.csv": CSV[:AT], "b.csv": b"id,note\n" + CSV[AT:]})
JSON_LINES = "".join(json.dumps(row) + "\n\n" for row in ROWS).encode()


@pytest.mark.parametrize(
    ("parsing", "body"),
    [
        (Parsing("csv"), CSV),
        (Parsing("csv"), b"\xef\xbb\xbf" + CSV),
        (Parsing("csv"), gzip.compress(CSV)),
        (Parsing("csv", csv=CsvDialect(encoding="utf-16")), CSV.decode().encode("utf-16")),
        (Parsing("csv", csv=CsvDialect(comment="#")), b"# by hand\n" + CSV),
        (Parsing("auto"), TWO_MEMBERS),
        (Parsing("jsonLines"), JSON_LINES),
        (Parsing("json"), json.dumps(ROWS).encode()),
    ],
    ids=["csv", "mark", "gzip", "utf-16", "comments", "zip", "json-lines", "json"],
)
def test_a_file_that_takes_many_calls_lands_each_record_once(
    rig: Rig, small_pieces: None, parsing: Parsing, body: bytes
) -> None:
    files = Files(rig.files.bucket, parsing=parsing)
    object.__setattr__(rig.config, "files", files)
    rig.arrive(rig.upload("f", body))
    calls = 1
    while not rig.land("r1", looks=3).complete:
        calls += 1
    assert calls > 2
    assert rig.records() == ROWS
    (file,) = (file for manifest in rig.manifests() for file in manifest.files)
    bad = 0 if "json" in parsing.format.lower() else 4
    assert (file.state, file.rows, file.rejected) == ("landed", 30, bad)
    assert file.sha256 == sha256(body).hexdigest()
    assert [row["record"] for row in rig.quarantined()] == ["bad"] * bad
    lines = [row["reason"].split(":")[0] for row in rig.quarantined()]
    assert len(set(lines)) == bad or parsing.format == "auto"  # Each member has its own lines.
    assert sum(manifest.quarantined for manifest in rig.manifests()) == bad
    assert list(rig.ledger.waiting()) == []
    rig.arrive(rig.upload("copy", body))
    assert rig.land("r2").rows == 0


def test_a_begun_file_is_read_to_its_end_as_it_was_begun(rig: Rig, small_pieces: None) -> None:
    rig.arrive(rig.upload("in/a.csv", CSV))
    while not rig.records():
        assert not rig.land("r1", looks=3).complete
    changed = Parsing("csv", csv=CsvDialect(delimiter=";"))
    object.__setattr__(rig.config, "files", Files(rig.files.bucket, parsing=changed))
    while not rig.land("r1", looks=3).complete:
        pass
    assert rig.records() == ROWS


def test_what_was_landed_of_a_file_that_is_then_overwritten_is_told(
    rig: Rig, small_pieces: None
) -> None:
    rig.arrive(rig.upload("in/a.csv", CSV))
    while not rig.records():
        assert not rig.land("r1", looks=3).complete
    before = len(rig.records())
    rig.upload("in/a.csv", b"id,note\n100,new\n")
    rig.land("r1")
    file = rig.manifests()[-1].files[0]
    assert (file.state, file.rows) == ("superseded", before)
    assert f"after {before} rows of it were landed" in file.reason


def test_a_dialect_travels_with_the_configuration() -> None:
    from weir_contract.codec import dumps

    files = Files("b", "p/", None, Parsing("csv", csv=CsvDialect(delimiter=";", header=False)))
    assert loads(Files, dumps(files)) == files


def test_a_window_lands_what_is_not_landed_and_by_force_what_is_once_for_each_request(
    rig: Rig,
) -> None:
    first, broken = rig.upload("in/a.csv", b"id\n1\n"), rig.upload("in/b.csv", b"id\n2\n")
    for located in (first, broken):
        rig.arrive(located)
    rig.land("run-1")
    refused = Update("SET #state = :state", {"state": "rejected"})
    rig.table.update(f"FILES#{SOURCE}", f"FILE#{file_id(broken)}", refused)
    rig.upload("in/c.csv", b"id\n3\n")
    now = datetime.now(UTC)
    today = Window(now - timedelta(hours=1), now + timedelta(hours=1))
    before = Window(now - timedelta(hours=2), now - timedelta(hours=1))

    def again(window: Window, request: str, force: bool = False) -> int:
        return enter_again(rig.s3, rig.ledger, rig.files, window, request, force)

    assert again(before, "p/none") == 0
    # The refused one and the one of which nobody has heard; a second call enters neither again.
    assert (again(today, "p/one"), again(today, "p/one")) == (2, 0)
    rig.land("run-2")
    assert sorted(row["id"] for row in rig.records()) == ["1", "2", "2", "3"]
    assert again(today, "p/one", force=True) == 2
    rig.land("run-3")
    assert again(today, "p/one", force=True) == 0
    assert again(today, "p/two", force=True) == 3
    assert len(list(rig.ledger.waiting())) == 3
