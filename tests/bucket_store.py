"""Buckets in memory, for the local warehouse's engine without a server."""

from __future__ import annotations


class Objects:
    """A bucket store that a role may use; it stands where S3's API stands otherwise."""

    def __init__(self) -> None:
        self.content: dict[tuple[str, str], bytes] = {}

    def read(self, bucket: str, key: str) -> bytes | None:
        return self.content.get((bucket, key))

    def size(self, bucket: str, key: str) -> int | None:
        body = self.content.get((bucket, key))
        return None if body is None else len(body)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        return sorted(k for b, k in self.content if b == bucket and k.startswith(prefix))

    def write(self, bucket: str, key: str, body: bytes, kms_key_id: str) -> None:
        self.content[(bucket, key)] = body

    def delete(self, bucket: str, key: str) -> None:
        self.content.pop((bucket, key), None)
