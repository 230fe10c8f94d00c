"""Sights that nobody has read yet, kept small.

After a restart listings show a hundred thousand resources, and each is read when its object has its
turn, minutes later. Those of one kind are nearly alike: kept as what differs from the first of them,
one takes a tenth of a kilobyte instead of several.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from typing import Any

from weir.resource import Observed

RAW = -zlib.MAX_WBITS
"""Deflate without header and checksum (zlib manual, ``deflateInit2``): it stays in this process."""


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
        self._bare = _with(observed, {}, {})

    def unpacked(self) -> Observed:
        """It, as it was."""
        unpacker = zlib.decompressobj(RAW, zdict=self._sample)
        properties, tags = pickle.loads(unpacker.decompress(self._bytes))
        return _with(self._bare, properties, tags)


def plain(observed: Observed) -> bytes:
    """The properties and tags of an observation as bytes: a sample for others."""
    return pickle.dumps((observed.properties, observed.tags), pickle.HIGHEST_PROTOCOL)


def _with(seen: Observed, properties: Mapping[str, Any], tags: Mapping[str, str]) -> Observed:
    """``dataclasses.replace`` in a third of the time: it is called for each resource there is."""
    return Observed(
        seen.name,
        properties,
        seen.attributes,
        tags,
        seen.settled,
        seen.detail,
        seen.unseen,
        seen.version,
    )
