"""Sights that nobody has read yet, kept small.

After a restart listings show a hundred thousand resources, and each is read when its object has its
turn, minutes later. Those of one kind are nearly alike, so each is kept as what differs from the
first of them.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weir.resource import Observed

RAW = -zlib.MAX_WBITS
"""Deflate without header and checksum (zlib manual, ``deflateInit2``): it stays in this process."""


NOTHING: Mapping[str, Any] = {}
"""Stands for what is kept otherwise, or not at all."""


class Packed:
    """One observation whose properties and tags are bytes.

    Parameters
    ----------
    observed
        What was seen. Its attributes stay as they are: they are kept after it was read, too.
    sample
        Bytes of another of its kind, which these are told by.
    """

    __slots__ = ("_bare", "_bytes", "_sample")

    def __init__(self, observed: Observed, sample: bytes) -> None:
        packer = zlib.compressobj(zlib.Z_BEST_SPEED, wbits=RAW, zdict=sample)
        self._bytes = packer.compress(plain(observed)) + packer.flush()
        self._sample = sample
        self._bare = replace(observed, properties=NOTHING, tags=NOTHING)

    def unpacked(self) -> Observed:
        """It, as it was."""
        unpacker = zlib.decompressobj(RAW, zdict=self._sample)
        properties, tags = pickle.loads(unpacker.decompress(self._bytes))
        return replace(self._bare, properties=properties, tags=tags)


def plain(observed: Observed) -> bytes:
    """The properties and tags of an observation as bytes: a sample for others."""
    return pickle.dumps((observed.properties, observed.tags), pickle.HIGHEST_PROTOCOL)
