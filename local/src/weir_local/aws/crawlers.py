"""Glue crawlers read their targets for real, under their role; the catalog keeps tables' versions.

Glue Developer Guide, "How crawlers work", "Setting crawler configuration options", "Automating AWS
Glue with EventBridge"; Glue API, "Crawlers" and "Tables" (GetTableVersions). The crawler lists and
reads as its role may, writes tables and partitions as its role may, and says in the end on the event
bus how it went.
"""

from __future__ import annotations

import contextvars
import fnmatch
import hashlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.exceptions

from weir_local.aws.access import RoleRefused, assume_role
from weir_local.aws.classifiers import Classified, Columns, classify, merged, table_word
from weir_local.aws.passrole import role_arn
from weir_local.aws.serviceclient import client
from weir_local.aws.wire import Reply, Request, guard_service, json_error

logger = logging.getLogger("weir.local.aws.glue")

READY, RUNNING, STOPPING = "READY", "RUNNING", "STOPPING"
SAMPLED = 100
"""Objects of one table that are read; of more, some evenly spread ones are."""
BATCH = 100
"""Partitions of one BatchCreatePartition (Glue API)."""
CRAWLED_BY = "UPDATED_BY_CRAWLER"
DEFAULTS: dict[str, Any] = {
    "SchemaChangePolicy": {
        "UpdateBehavior": "UPDATE_IN_DATABASE",
        "DeleteBehavior": "DEPRECATE_IN_DATABASE",
    },
    "RecrawlPolicy": {"RecrawlBehavior": "CRAWL_EVERYTHING"},
    "LineageConfiguration": {"CrawlerLineageSettings": "DISABLE"},
}
"""What AWS fills in where it is not given (Glue API, "Crawler structure")."""

FORMATS: dict[str, dict[str, Any]] = {
    "json": {
        "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "Serde": "org.openx.data.jsonserde.JsonSerDe",
    },
    "csv": {
        "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "Serde": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
    },
    "parquet": {
        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "Serde": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    },
}
"""Classification -> what reads it."""


@dataclass
class Found:
    """The objects of one table.

    :param bucket: where they are
    :param root: their folder
    :param objects: key and size of each
    """

    bucket: str
    root: str
    objects: list[tuple[str, int]] = field(default_factory=list)

    @property
    def location(self) -> str:
        """``s3://bucket/folder/``."""
        return f"s3://{self.bucket}/{self.root}"

    def folders(self) -> list[tuple[str, ...]]:
        """The folders between the root and each object, once each, in order."""
        below = (key[len(self.root) :].split("/")[:-1] for key, _ in self.objects)
        return sorted({tuple(parts) for parts in below})


class Refused(Exception):
    """A crawl that can't be done; its text is what AWS says."""


def listed(s3: Any, path: str, exclusions: list[str]) -> Iterator[tuple[str, str, int]]:
    """Bucket, key and size of a target's objects that no exclusion names, hidden ones left out."""
    bucket, _, prefix = path.removeprefix("s3://").partition("/")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for item in page.get("Contents", []):
            key, size = item["Key"], item["Size"]
            below = key[len(prefix) :].lstrip("/")
            if not size or any(excluded(below, one) for one in exclusions):
                continue
            if key.rsplit("/", 1)[-1].startswith((".", "_")):
                continue
            yield bucket, key, size


def excluded(path: str, pattern: str) -> bool:
    """Whether an exclude pattern names a path: ``*`` stays within a folder, ``**`` does not."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(path, pattern.replace("**", "*"))
    same_depth = path.count("/") == pattern.count("/")
    return same_depth and fnmatch.fnmatchcase(path, pattern)


def grouped(s3: Any, targets: list[Mapping[str, Any]], level: int | None) -> list[Found]:
    """The objects of all targets by table: the folder at the table level, else the target."""
    found: dict[tuple[str, str], Found] = {}
    for target in targets:
        prefix = str(target["Path"]).removeprefix("s3://").partition("/")[2]
        for bucket, key, size in listed(s3, target["Path"], list(target.get("Exclusions") or [])):
            folders = key.split("/")[:-1]
            depth = level - 1 if level else len([part for part in prefix.split("/") if part])
            root = "".join(f"{part}/" for part in folders[:depth])
            found.setdefault((bucket, root), Found(bucket, root)).objects.append((key, size))
    return list(found.values())


def examined(s3: Any, table: Found) -> list[Classified]:
    """What a table's objects are: some evenly spread ones where there are many."""
    step = max(1, len(table.objects) // SAMPLED)
    seen = []
    for key, size in table.objects[::step]:

        def read(start: int, end: int, key: str = key) -> bytes:
            if start >= end:
                return b""
            reply = s3.get_object(Bucket=table.bucket, Key=key, Range=f"bytes={start}-{end - 1}")
            return bytes(reply["Body"].read())

        known = classify(read, size)
        if known is not None:
            seen.append(known)
    return seen


def partition_keys(table: Found) -> list[str]:
    """Names of a table's partitions: of ``key=value`` folders, else ``partition_0`` and on."""
    depths = {len(parts) for parts in table.folders()}
    if len(depths) != 1 or depths == {0}:
        return []
    first = table.folders()[0]
    return [
        part.partition("=")[0].lower() if "=" in part else f"partition_{number}"
        for number, part in enumerate(first)
    ]


def storage(seen: list[Classified], columns: Columns, location: str) -> dict[str, Any]:
    """``StorageDescriptor`` over a table's folder, or over a partition's."""
    kind = seen[0]
    reader = FORMATS[kind.classification]
    parameters: dict[str, str] = {"serialization.format": "1"}
    if kind.classification == "json":
        keys = dict.fromkeys(key for one in seen for key in one.keys)
        parameters = {"paths": ",".join(sorted(keys))}
    elif kind.classification == "csv":
        parameters = {"field.delim": kind.delimiter}
    return {
        "Columns": [{"Name": name, "Type": hive} for name, hive in columns.items()],
        "Location": location,
        "InputFormat": reader["InputFormat"],
        "OutputFormat": reader["OutputFormat"],
        "Compressed": kind.compression != "none",
        "NumberOfBuckets": -1,
        "SerdeInfo": {"SerializationLibrary": reader["Serde"], "Parameters": parameters},
        "StoredAsSubDirectories": False,
        "Parameters": {},
    }


def table_input(crawler: Mapping[str, Any], table: Found, seen: list[Classified]) -> dict[str, Any]:
    """``TableInput`` of what was found, without the name."""
    kind = seen[0]
    size = sum(size for _, size in table.objects)
    records = sum(one.records for one in seen) * len(table.objects) // len(seen)
    keys = partition_keys(table)
    columns = {
        name: hive for name, hive in merged(one.columns for one in seen).items() if name not in keys
    }
    parameters = {
        "CrawlerSchemaDeserializerVersion": "1.0",
        "CrawlerSchemaSerializerVersion": "1.0",
        CRAWLED_BY: crawler["Name"],
        "averageRecordSize": str(size // max(1, records)),
        "classification": kind.classification,
        "compressionType": kind.compression,
        "objectCount": str(len(table.objects)),
        "recordCount": str(records),
        "sizeKey": str(size),
        "typeOfData": "file",
    }
    if kind.header:
        parameters["skip.header.line.count"] = "1"
    return {
        "Owner": "owner",
        "Retention": 0,
        "StorageDescriptor": storage(seen, columns, table.location),
        "PartitionKeys": [{"Name": name, "Type": "string"} for name in keys],
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
    }


def same_schema(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two table definitions differ in nothing but counts."""

    def shape(table: Mapping[str, Any]) -> Any:
        stored = table.get("StorageDescriptor") or {}
        return [stored.get("Columns"), stored.get("Location"), table.get("PartitionKeys")]

    return bool(shape(one) == shape(other))


class Catalog:
    """A crawler's tables in its database, written under its role.

    :param glue: a client with the role's credentials
    """

    def __init__(self, glue: Any, crawler: Mapping[str, Any]) -> None:
        self.glue, self.crawler = glue, crawler
        self.counts = {"tablesCreated": 0, "tablesUpdated": 0, "partitionsCreated": 0}

    def write(self, table: Found, seen: list[Classified]) -> None:
        """Create or update the table of what was found, and register its partitions."""
        database = self.crawler["DatabaseName"]
        word = table_word((table.root.rstrip("/") or table.bucket).rsplit("/", 1)[-1])
        name = f"{self.crawler.get('TablePrefix') or ''}{word}"
        before = self._table(database, name)
        if (
            before is not None
            and (before.get("Parameters") or {}).get(CRAWLED_BY) != (self.crawler["Name"])
        ):
            # Another's table has the name: AWS appends a hash of the location.
            name += "_" + hashlib.md5(table.location.encode(), usedforsecurity=False).hexdigest()
            before = self._table(database, name)
        given = {"Name": name, **table_input(self.crawler, table, seen)}
        update = (self.crawler.get("SchemaChangePolicy") or {}).get("UpdateBehavior")
        if before is None:
            self.glue.create_table(DatabaseName=database, TableInput=given)
            self.counts["tablesCreated"] += 1
        elif not same_schema(before, given) and update != "LOG":
            self.glue.update_table(DatabaseName=database, TableInput=given)
            self.counts["tablesUpdated"] += 1
        if given["PartitionKeys"]:
            self._register(database, name, table, seen, given)

    def _table(self, database: str, name: str) -> dict[str, Any] | None:
        try:
            return dict(self.glue.get_table(DatabaseName=database, Name=name)["Table"])
        except botocore.exceptions.ClientError as failed:
            if failed.response["Error"]["Code"] == "EntityNotFoundException":
                return None
            raise

    def _register(
        self,
        database: str,
        name: str,
        table: Found,
        seen: list[Classified],
        given: Mapping[str, Any],
    ) -> None:
        pages = self.glue.get_paginator("get_partitions").paginate(
            DatabaseName=database, TableName=name
        )
        known = {tuple(one["Values"]) for page in pages for one in page["Partitions"]}
        columns = {one["Name"]: one["Type"] for one in given["StorageDescriptor"]["Columns"]}
        new = []
        for folders in table.folders():
            values = tuple(part.partition("=")[2] if "=" in part else part for part in folders)
            if values not in known:
                where = table.location + "".join(f"{part}/" for part in folders)
                described = storage(seen, columns, where)
                new.append({"Values": list(values), "StorageDescriptor": described})
        for start in range(0, len(new), BATCH):
            self.glue.batch_create_partition(
                DatabaseName=database, TableName=name, PartitionInputList=new[start : start + BATCH]
            )
        self.counts["partitionsCreated"] += len(new)


def crawl(crawler: Mapping[str, Any], region: str, account: str) -> dict[str, int]:
    """Crawl once.

    :returns: what was written, as the event counts it
    :raises Refused: the role can't be assumed, or may not do what is needed
    """
    try:
        session = assume_role(
            role_arn(crawler["Role"], account),
            "glue.amazonaws.com",
            f"arn:aws:glue:{region}:{account}:crawler/{crawler['Name']}",
            region,
            "AWS-Crawler",
        )
    except RoleRefused as refused:
        raise Refused(f"Service is unable to assume provided role. {refused}") from refused
    s3, glue = client(session, "s3", region), client(session, "glue", region)
    configuration = json.loads(crawler.get("Configuration") or "{}")
    level = (configuration.get("Grouping") or {}).get("TableLevelConfiguration")
    catalog = Catalog(glue, crawler)
    try:
        glue.get_database(Name=crawler["DatabaseName"])
        for table in grouped(s3, (crawler.get("Targets") or {}).get("S3Targets") or [], level):
            seen = examined(s3, table)
            if seen:
                most = max(
                    {one.classification for one in seen}, key=lambda kind: _count(seen, kind)
                )
                catalog.write(table, [one for one in seen if one.classification == most])
    except botocore.exceptions.ClientError as refused:
        raise Refused(str(refused)) from refused
    return catalog.counts


def _count(seen: list[Classified], kind: str) -> int:
    return sum(one.classification == kind for one in seen)


def run(crawler: dict[str, Any], region: str, account: str) -> None:
    """Crawl, write the outcome into *crawler*, and tell the event bus."""
    from ministack.services import eventbridge

    began = time.time()
    error = ""
    counts: dict[str, int] = {}
    try:
        counts = crawl(dict(crawler), region, account)
    except Refused as refused:
        error = str(refused)
    except Exception as failed:
        logger.exception("crawler %s", crawler["Name"])
        error = f"Internal Service Exception: {type(failed).__name__}"
    stopped = crawler["State"] == STOPPING
    state = "Stopped" if stopped else "Failed" if error else "Succeeded"
    crawler["CrawlElapsedTime"] = int((time.time() - began) * 1000)
    crawler["LastCrawl"] = {
        "Status": {"Stopped": "CANCELLED"}.get(state, state.upper()),
        **({"ErrorMessage": error} if error else {}),
        "LogGroup": "/aws-glue/crawlers",
        "LogStream": crawler["Name"],
        "MessagePrefix": str(uuid.uuid4()),
        "StartTime": began,
    }
    crawler["State"] = READY
    detail = {
        "crawlerName": crawler["Name"],
        "accountId": account,
        "state": state,
        "message": f"Crawler {state}",
        "runningTime (sec)": str(round(time.time() - began)),
        **{name: str(count) for name, count in counts.items()},
        **({"errorMessage": error} if error else {}),
    }
    entry = {
        "Source": "aws.glue",
        "DetailType": "Glue Crawler State Change",
        "Detail": json.dumps(detail),
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def start(data: dict[str, Any]) -> Reply:
    """StartCrawler: one crawl at a time, in a thread of its own."""
    from ministack.core.responses import get_account_id, get_region, json_response
    from ministack.services import glue

    name = data.get("Name", "")
    crawler = glue._crawlers.get(name)
    if crawler is None:
        return json_error(
            "EntityNotFoundException", f"Crawler entry with name {name} does not exist"
        )
    if crawler["State"] != READY:
        return json_error(
            "CrawlerRunningException", f"Crawler with name {name} has already started"
        )
    crawler["State"] = RUNNING
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run,
        args=(run, crawler, str(get_region()), str(get_account_id())),
        name=f"crawler-{name}",
        daemon=True,
    ).start()
    reply: Reply = json_response({})
    return reply


def install() -> None:
    """Replace the emulator's crawls, and keep versions of tables."""
    from ministack.core.responses import AccountRegionScopedDict
    from ministack.services import glue

    create_crawler, update_crawler, delete_crawler = (
        glue._create_crawler,
        glue._update_crawler,
        glue._delete_crawler,
    )
    versions = AccountRegionScopedDict()

    def create(data: dict[str, Any]) -> Any:
        missing = [key for key in ("Role", "Targets") if not data.get(key)]
        if missing:
            return json_error("InvalidInputException", f"{', '.join(missing)} may not be empty")
        reply = create_crawler(data)
        if reply[0] == 200:
            crawler = glue._crawlers[data["Name"]]
            for key, default in DEFAULTS.items():
                crawler[key] = {**default, **(data.get(key) or {})}
            glue._tags[glue._arn("crawler", data["Name"])] = dict(data.get("Tags") or {})
        return reply

    def update(data: dict[str, Any]) -> Any:
        crawler = glue._crawlers.get(data.get("Name"))
        if crawler and crawler["State"] != READY:
            name = data["Name"]
            return json_error("CrawlerRunningException", f"Crawler {name} is running")
        return update_crawler(data)

    def delete(data: dict[str, Any]) -> Any:
        crawler = glue._crawlers.get(data.get("Name"))
        if crawler and crawler["State"] != READY:
            name = data["Name"]
            return json_error("CrawlerRunningException", f"Crawler {name} is running")
        reply = delete_crawler(data)
        if reply[0] == 200:
            glue._tags.pop(glue._arn("crawler", data["Name"]), None)
        return reply

    def stop(data: dict[str, Any]) -> Any:
        from ministack.core.responses import json_response

        crawler = glue._crawlers.get(data.get("Name"))
        if crawler is None:
            return json_error("EntityNotFoundException", f"Crawler {data.get('Name')} not found")
        if crawler["State"] != RUNNING:
            return json_error("CrawlerNotRunningException", "The crawler is not running")
        crawler["State"] = STOPPING
        return json_response({})

    def keep(write: Any) -> Any:
        def kept(data: dict[str, Any]) -> Any:
            from ministack.services.glue import _tables

            reply = write(data)
            given = data.get("TableInput") or {}
            key = f"{data.get('DatabaseName')}/{given.get('Name')}"
            if reply[0] == 200 and key in _tables:
                table = _tables[key]
                table.setdefault("VersionId", "0")
                history = versions.get(key) or []
                if write is created:
                    history = []
                if not data.get("SkipArchive") or not history:
                    history = [*history, json.loads(json.dumps(table))]
                else:
                    history = [*history[:-1], json.loads(json.dumps(table))]
                versions[key] = history
            return reply

        return kept

    def table_versions(request: Request) -> Reply | None:
        from ministack.core.responses import json_response

        if request.operation not in ("GetTableVersion", "GetTableVersions"):
            return None
        data = request.json
        key = f"{data.get('DatabaseName')}/{data.get('TableName')}"
        if key not in glue._tables:
            return json_error("EntityNotFoundException", f"Entity Not Found: {key}")
        found = [
            {"Table": table, "VersionId": str(table.get("VersionId", "0"))}
            for table in reversed(versions.get(key) or [glue._tables[key]])
        ]
        wanted = data.get("VersionId")
        if wanted is not None:
            one = [item for item in found if item["VersionId"] == str(wanted)]
            if not one:
                return json_error("EntityNotFoundException", f"version {wanted} of {key}")
            return tuple(json_response({"TableVersion": one[0]}))
        return tuple(json_response({"TableVersions": found[: int(data.get("MaxResults") or 100)]}))

    created = glue._create_table
    glue._create_table, glue._update_table = keep(created), keep(glue._update_table)
    glue._create_crawler, glue._update_crawler = create, update
    glue._delete_crawler, glue._stop_crawler = delete, stop
    glue._start_crawler = start
    guard_service("glue", table_versions)
