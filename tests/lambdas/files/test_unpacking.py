"""Compressed files and archives, honest and hostile."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from typing import Any

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.globs import matches
from weir_lambdas.file_processor.unpack import STREAMS, Guard, Unreadable

PLAIN = b"a,b\n1,2\n3,4\n"
PACK = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "zstd": zstd.compress,
    "none": bytes,
}
ROWS = [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return file.getvalue()


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_each_compression_is_told_by_its_first_bytes(reading: Any, kind: str, piece: int) -> None:
    assert reading(PACK[kind](PLAIN), Parsing("csv", "auto"), piece).rows == ROWS


def test_every_member_of_a_zip_is_read_and_litter_is_not(reading: Any) -> None:
    body = zipped(**{"x/one.csv": PLAIN, "__MACOSX/._one.csv": b"\0", "two.csv": PLAIN})
    assert reading(body, Parsing("csv")).rows == ROWS * 2


def test_a_broken_member_is_named(reading: Any) -> None:
    body = zipped(**{"good.json": b"[]", "bad.json": b"{"})
    with pytest.raises(Unreadable, match=r"'bad\.json' in the archive"):
        reading(body, Parsing("json"))


@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd"])
def test_a_cut_off_upload_is_unreadable(reading: Any, kind: str) -> None:
    packed = PACK[kind](bytes(range(256)) * 500)
    with pytest.raises(Unreadable, match=r"too early|damaged"):
        reading(packed[: len(packed) // 2], Parsing("jsonLines", "auto"))


@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd"])
def test_streams_one_after_another_are_one(kind: str) -> None:
    packed = PACK[kind](b"one ") + PACK[kind](b"two")
    assert b"".join(STREAMS[kind](iter([packed[:9], packed[9:]]))) == b"one two"


def test_a_bomb_is_stopped_by_size_and_by_ratio(reading: Any) -> None:
    bomb = gzip.compress(b"{}\n" * (30 << 20), 9)
    with pytest.raises(Unreadable, match="1048576 bytes"):
        reading(bomb, Parsing("jsonLines", max_bytes=1 << 20))
    guard = Guard(1 << 40, packed=100)
    with pytest.raises(Unreadable, match="1000 times"):
        list(guard.bounded([b"x" * (1 << 20)] * 20))


def test_an_encrypted_member_is_unreadable(reading: Any) -> None:
    body = bytearray(zipped(**{"x.csv": PLAIN}))
    # General purpose bit 0 in the local header and in the central directory (APPNOTE 4.4.4).
    body[6] |= 1
    body[body.find(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(Unreadable, match="encrypted"):
        reading(bytes(body), Parsing("csv"))


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=5_000),
    kind=st.sampled_from(["gzip", "bz2", "zstd"]),
    piece=st.integers(1, 500),
)
def test_what_is_packed_is_unpacked_whatever_the_pieces(body: bytes, kind: str, piece: int) -> None:
    packed = PACK[kind](body)
    pieces = (packed[start : start + piece] for start in range(0, len(packed), piece))
    assert b"".join(STREAMS[kind](pieces)) == body


@pytest.mark.parametrize(
    ("key", "pattern", "expected"),
    [
        ("a/b/x.csv", "*.csv", True),
        ("a/b/x.csv", "a/*.csv", False),
        ("a/b/x.csv", "a/**/*.csv", True),
        ("a/x.csv", "a/**/*.csv", True),
        ("x.csv", "x.[ct]sv", True),
        ("x.psv", "x.[!ct]sv", True),
        ("x.csv.gz", "*.csv", False),
        ("a+b(1).csv", "a+b(1).csv", True),
        ("x/y", "?", True),
    ],
)
def test_globs_stay_within_a_folder_unless_doubled(key: str, pattern: str, expected: bool) -> None:
    assert matches(key, pattern) is expected


SKIPPED = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_zstd_frames_that_are_skipped_stand_anywhere(reading: Any, place: int) -> None:
    frames = [zstd.compress(b"id\n1"), zstd.compress(b"\n2\n")]
    frames.insert(place, SKIPPED)
    assert reading(b"".join(frames), Parsing("csv"), 5).rows == [{"id": "1"}, {"id": "2"}]


def test_a_text_may_begin_as_bzip2_does(reading: Any) -> None:
    assert reading(b"BZhour\n1\n", Parsing("csv")).rows == [{"BZhour": "1"}]


def test_members_that_are_packed_themselves_are_read_and_archives_told(reading: Any) -> None:
    csv = b"id\n1\n"

    def archive(**members: bytes) -> bytes:
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as found:
            for name, content in members.items():
                found.writestr(name, content)
        return body.getvalue()

    packed = archive(**{"a.csv.gz": gzip.compress(csv), "/../b.csv.zst": zstd.compress(csv)})
    assert reading(packed, Parsing("auto"), name="x.zip").rows == [{"id": "1"}, {"id": "1"}]
    with pytest.raises(Unreadable, match=r"'b\.zip' in the archive: an archive within an archive"):
        reading(archive(**{"b.zip": archive(**{"a.csv": csv})}), Parsing("csv"))
    bomb = archive(**{"a.csv.gz": gzip.compress(bytes(40_000_000))})
    with pytest.raises(Unreadable, match="unfolds to more than"):
        reading(bomb, Parsing("csv", max_bytes=1_000_000))
