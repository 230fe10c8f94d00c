"""S3: buckets and single objects (configuration, code artifacts).

A bucket's policy, notification and lifecycle may hold entries of others. Ours have a ``Sid`` or
``ID`` that begins with ``weir``; only those are compared and changed, the rest is written back as read.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import FEW, ServiceAdapter, changed, common_prefix, picked
from weir.aws.documents import encode, policy
from weir.aws.errors import Conflict, Invalid, NotFound
from weir.resource import Change, Observed, Resource, Traits

OURS = "weir"
POLICY_VERSION = "2012-10-17"
SHA_METADATA = "weir-sha256"
PUBLIC_ACCESS = (
    "BlockPublicAcls",
    "IgnorePublicAcls",
    "BlockPublicPolicy",
    "RestrictPublicBuckets",
)

BUCKET = frozenset(
    {"Encryption", "Versioning", "PublicAccessBlock", "EventBridge", "Policy", "LifecycleRules"}
)
"""What the list of buckets does not tell: all but their names."""


def _ours(items: Iterable[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    return [dict(item) for item in items if str(item.get(key, "")).lower().startswith(OURS)]


def _others(items: Iterable[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    return [dict(item) for item in items if not str(item.get(key, "")).lower().startswith(OURS)]


def _policy(statements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return policy({"Version": POLICY_VERSION, "Statement": list(statements)}) if statements else {}


def _rules(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    full = ({**rule, "Filter": rule.get("Filter") or {"Prefix": ""}} for rule in rules)
    return sorted(full, key=lambda rule: str(rule.get("ID", "")))


class Bucket(ServiceAdapter):
    """A bucket.

    Properties: ``Encryption{KmsKeyArn}`` (with bucket keys), ``Versioning``, ``PublicAccessBlock``,
    ``EventBridge``, ``Policy`` (our statements), ``LifecycleRules`` (our rules). Attributes: ``arn``.
    """

    kind = "s3.Bucket"
    service = "s3"
    tagged_as = ("s3",)
    traits = Traits(holds_data=True)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if "Policy" in form:
            statements = (form["Policy"] or {}).get("Statement", [])
            for statement in statements:
                if not str(statement.get("Sid", "")).lower().startswith(OURS):
                    raise Invalid(
                        f"a statement of a bucket policy needs a Sid that begins with {OURS!r}, "
                        f"to be told from others': {encode(statement)}",
                        service=self.service,
                    )
            form["Policy"] = _policy(statements)
        if "LifecycleRules" in form:
            form["LifecycleRules"] = _rules(form["LifecycleRules"] or [])
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        found = set()
        for seen in self.tagged(
            names,
            (
                Observed(bucket["Name"], {}, attributes=self._named(bucket["Name"]), unseen=BUCKET)
                for bucket in self.calls.pages("ListBuckets", "Buckets")
            ),
        ):
            found.add(seen.name)
            yield seen
        # An adopted bucket may be of another account, which the listing never has.
        yield from self.observe([name for name in names if name not in found]).values()

    def _named(self, name: str) -> dict[str, str]:
        return {"arn": f"arn:{self.session.partition}:s3:::{name}", "name": name}

    def look(self, name: str) -> Observed | None:
        if self.calls.find("HeadBucket", name, Bucket=name) is None:
            return None
        block = self.calls.find("GetPublicAccessBlock", name, Bucket=name) or {}
        configured = block.get("PublicAccessBlockConfiguration", {})
        tags = self.calls.find("GetBucketTagging", name, Bucket=name) or {}
        versioning = self.calls("GetBucketVersioning", name, Bucket=name)
        return Observed(
            name=name,
            properties={
                "Encryption": self._encryption(name),
                "Versioning": versioning.get("Status") == "Enabled",
                "PublicAccessBlock": all(configured.get(key) for key in PUBLIC_ACCESS),
                "EventBridge": "EventBridgeConfiguration" in self._notification(name),
                "Policy": _policy(_ours(self._statements(name), "Sid")),
                "LifecycleRules": _rules(_ours(self._lifecycle(name), "ID")),
            },
            attributes=self._named(name),
            tags=tagging.mapping(tags.get("TagSet")),
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        name, region = resource.name, self.session.region
        # us-east-1 is the one region that must not be named (S3 API, "CreateBucket").
        place = {} if region == "us-east-1" else {"LocationConstraint": region}
        configuration = {**place, "Tags": tagging.pairs(tags)} if tags else place
        parameters = {"CreateBucketConfiguration": configuration} if configuration else {}
        try:
            self.calls("CreateBucket", name, Bucket=name, **parameters)
        except Conflict as taken:
            if taken.code != "BucketAlreadyOwnedByYou":
                raise
            return self.taken_back(resource, tags, taken)
        wanted = self.canonical(resource.properties)
        # What keeps the public out comes first.
        order = (
            "PublicAccessBlock",
            "Encryption",
            "Policy",
            "Versioning",
            "LifecycleRules",
            "EventBridge",
        )
        for field in order:
            if wanted.get(field):
                self._put(name, field, wanted[field])
        # AWS blocks what is public, and encrypts with its own key, unasked.
        born = {
            "Encryption": {},
            "Versioning": False,
            "PublicAccessBlock": True,
            "EventBridge": False,
            "Policy": {},
            "LifecycleRules": [],
        }
        given = {field: wanted[field] for field in order if wanted.get(field)}
        return Observed(name, {**born, **given}, attributes=self._named(name), tags=dict(tags))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        wanted = self.canonical(resource.properties)
        for field in sorted(changed(changes) & set(wanted)):
            self._put(resource.name, field, wanted[field])
        self._tag(resource.name, observed, tags)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        try:
            self.calls.find("DeleteBucket", observed.name, Bucket=observed.name)
        except Conflict as error:
            raise Conflict(
                f"bucket {observed.name} is not empty, and is never emptied for you. Empty it (all "
                "versions and delete markers too) and it will be deleted, or keep it with "
                "deletionPolicy: Retain.",
                service=self.service,
                operation="DeleteBucket",
                resource=observed.name,
                code=error.code,
                retry_after=300.0,
            ) from error

    def _tag(self, name: str, observed: Observed, tags: Mapping[str, str]) -> None:
        if tagging.missing(observed.tags, tags):
            # The call replaces the whole set.
            kept = {key: text for key, text in observed.tags.items() if not key.startswith("aws:")}
            self.calls(
                "PutBucketTagging",
                name,
                Bucket=name,
                Tagging={"TagSet": tagging.pairs({**kept, **tags})},
            )

    def _encryption(self, name: str) -> dict[str, Any]:
        found = self.calls.find("GetBucketEncryption", name, Bucket=name) or {}
        rules = found.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        for rule in rules:
            default = rule.get("ApplyServerSideEncryptionByDefault", {})
            if default.get("SSEAlgorithm") == "aws:kms":
                seen = {"KmsKeyArn": default.get("KMSMasterKeyID", "")}
                return seen if rule.get("BucketKeyEnabled") else {**seen, "BucketKey": False}
        return {}

    def _notification(self, name: str) -> dict[str, Any]:
        found = self.calls("GetBucketNotificationConfiguration", name, Bucket=name)
        return {key: value for key, value in found.items() if key != "ResponseMetadata"}

    def _statements(self, name: str) -> list[dict[str, Any]]:
        found = self.calls.find("GetBucketPolicy", name, Bucket=name) or {}
        return list(policy(found.get("Policy", "")).get("Statement", []))

    def _lifecycle(self, name: str) -> list[dict[str, Any]]:
        found = self.calls.find("GetBucketLifecycleConfiguration", name, Bucket=name) or {}
        return list(found.get("Rules", []))

    def _put(self, name: str, field: str, value: Any) -> None:
        writers: dict[str, Callable[[str, Any], None]] = {
            "Encryption": self._put_encryption,
            "Versioning": self._put_versioning,
            "PublicAccessBlock": self._put_public_access,
            "EventBridge": self._put_event_bridge,
            "Policy": self._put_policy,
            "LifecycleRules": self._put_lifecycle,
        }
        writers[field](name, value)

    def _put_encryption(self, name: str, value: Mapping[str, Any] | None) -> None:
        key = (value or {}).get("KmsKeyArn")
        default = {"SSEAlgorithm": "AES256"}
        if key:
            default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": bool(key)}
        self.calls(
            "PutBucketEncryption",
            name,
            Bucket=name,
            ServerSideEncryptionConfiguration={"Rules": [rule]},
        )

    def _put_versioning(self, name: str, value: bool | None) -> None:
        status = "Enabled" if value else "Suspended"
        self.calls(
            "PutBucketVersioning", name, Bucket=name, VersioningConfiguration={"Status": status}
        )

    def _put_public_access(self, name: str, value: bool | None) -> None:
        block = {key: bool(value) for key in PUBLIC_ACCESS}
        self.calls("PutPublicAccessBlock", name, Bucket=name, PublicAccessBlockConfiguration=block)

    def _put_event_bridge(self, name: str, value: bool | None) -> None:
        configuration = self._notification(name)
        configuration.pop("EventBridgeConfiguration", None)
        if value:
            configuration["EventBridgeConfiguration"] = {}
        self.calls(
            "PutBucketNotificationConfiguration",
            name,
            Bucket=name,
            NotificationConfiguration=configuration,
        )

    def _put_policy(self, name: str, value: Mapping[str, Any] | None) -> None:
        found = policy((self.calls.find("GetBucketPolicy", name, Bucket=name) or {}).get("Policy"))
        others = _others(found.get("Statement", []), "Sid")
        statements = others + list((value or {}).get("Statement", []))
        if not statements:
            self.calls.find("DeleteBucketPolicy", name, Bucket=name)
            return
        # Others' statements may mean something else under another version of the language.
        version = found["Version"] if others else POLICY_VERSION
        document = {"Version": version, "Statement": statements}
        self.calls("PutBucketPolicy", name, Bucket=name, Policy=encode(document))

    def _put_lifecycle(self, name: str, value: Sequence[Mapping[str, Any]] | None) -> None:
        rules = _others(self._lifecycle(name), "ID") + [dict(rule) for rule in value or ()]
        if not rules:
            self.calls.find("DeleteBucketLifecycle", name, Bucket=name)
            return
        self.calls(
            "PutBucketLifecycleConfiguration",
            name,
            Bucket=name,
            LifecycleConfiguration={"Rules": rules},
        )


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``.

    Raises
    ------
    Invalid
        It is no such URI.
    """
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not slash or not bucket or not key:
        raise Invalid(f"{uri!r} is no s3://bucket/key", service="s3", resource=uri)
    return bucket, key


Content = BytesIO | BufferedReader
OBJECT = frozenset({"Sha256", "ContentType", "KmsKeyArn"})
"""What HeadObject tells of an object and a listing does not; the ETag tells that it is another."""


class Object(ServiceAdapter):
    """One object, named by its URI ``s3://bucket/key``. It takes no owner tags.

    Properties: one of ``Body`` (text), ``BodyBase64`` and ``File`` (a local path), ``Sha256`` of the content in
    hexadecimal (kept in the object's metadata, and what is compared), ``ContentType``, ``KmsKeyArn``.
    """

    kind = "s3.Object"
    service = "s3"
    traits = Traits(write_only=frozenset({"Body", "BodyBase64", "File"}))

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        # By bucket and top folder: code and configurations share a bucket with nothing between.
        folders: dict[tuple[str, str], list[str]] = {}
        for name in names:
            bucket, key = split_uri(name)
            folders.setdefault((bucket, key.partition("/")[0]), []).append(key)
        for (bucket, _), keys in folders.items():
            if len(keys) <= FEW:
                yield from self.observe([f"s3://{bucket}/{key}" for key in keys]).values()
            else:
                yield from self._listed(bucket, set(keys))

    def _listed(self, bucket: str, keys: Set[str]) -> Iterator[Observed]:
        """Those of these keys that a listing has; nothing where the bucket is not there."""
        prefix = common_prefix(sorted(keys))
        about = f"s3://{bucket}/{prefix}"
        listed = self.calls.pages("ListObjectsV2", "Contents", about, Bucket=bucket, Prefix=prefix)
        with suppress(NotFound):
            for item in listed:
                if item["Key"] in keys:
                    yield self._observed(bucket, item["Key"], {}, item["ETag"], unseen=OBJECT)

    def look(self, name: str) -> Observed | None:
        bucket, key = split_uri(name)
        head = self.calls.find("HeadObject", name, Bucket=bucket, Key=key)
        if head is None:
            return None
        properties = {
            "Sha256": head.get("Metadata", {}).get(SHA_METADATA),
            "ContentType": head.get("ContentType"),
            "KmsKeyArn": head.get("SSEKMSKeyId"),
        }
        return self._observed(bucket, key, properties, head["ETag"])

    def _observed(
        self,
        bucket: str,
        key: str,
        properties: Mapping[str, Any],
        etag: str,
        unseen: frozenset[str] = frozenset(),
    ) -> Observed:
        uri = f"s3://{bucket}/{key}"
        return Observed(
            name=uri,
            properties=properties,
            attributes={
                "arn": f"arn:{self.session.partition}:s3:::{bucket}/{key}",
                "uri": uri,
                "bucket": bucket,
                "key": key,
            },
            unseen=unseen,
            version=etag,
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        with _content(resource) as content:
            return self._put(resource, content)

    def _put(self, resource: Resource, content: Content) -> Observed:
        bucket, key = split_uri(resource.name)
        wanted = resource.properties
        digest = hashlib.file_digest(content, "sha256")
        content.seek(0)
        if wanted.get("Sha256") not in (None, digest.hexdigest()):
            raise Invalid(
                f"{resource.name}: the content has SHA-256 {digest.hexdigest()}, but "
                f"{wanted['Sha256']} is wanted: build the artifacts again",
                service=self.service,
                operation="PutObject",
                resource=resource.name,
            )
        parameters: dict[str, Any] = {"Metadata": {SHA_METADATA: digest.hexdigest()}}
        if wanted.get("ContentType"):
            parameters["ContentType"] = wanted["ContentType"]
        if wanted.get("KmsKeyArn"):
            parameters |= {
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": wanted["KmsKeyArn"],
                "BucketKeyEnabled": True,
            }
        answer = self.calls(
            "PutObject",
            resource.name,
            Bucket=bucket,
            Key=key,
            Body=content,
            ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
            **parameters,
        )
        properties = {
            "Sha256": digest.hexdigest(),
            "ContentType": wanted.get("ContentType") or "binary/octet-stream",
            "KmsKeyArn": answer.get("SSEKMSKeyId") or wanted.get("KmsKeyArn"),
        }
        return self._observed(bucket, key, properties, answer["ETag"])

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        return self.create(resource, tags) if changes else observed

    def delete(self, observed: Observed) -> None:
        bucket, key = split_uri(observed.name)
        self.calls.find("DeleteObject", observed.name, Bucket=bucket, Key=key)


def _content(resource: Resource) -> Content:
    """What the object is to hold; a file is read as it is sent, several of them make a hundred MB."""
    given = picked(resource.properties, ("Body", "BodyBase64", "File"))
    if len(given) != 1:
        raise Invalid(
            f"{resource.name}: give exactly one of Body, BodyBase64 and File",
            service="s3",
            resource=resource.name,
        )
    if "Body" in given:
        return BytesIO(str(given["Body"]).encode())
    if "BodyBase64" in given:
        return BytesIO(base64.b64decode(given["BodyBase64"]))
    file = str(given["File"])
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise Invalid(
            f"{resource.name}: can't read the artifact {file}: {error.strerror}. Build the artifacts, "
            "or point the operator at where they are.",
            service="s3",
            resource=resource.name,
        ) from error


ADAPTERS = (Bucket, Object)
