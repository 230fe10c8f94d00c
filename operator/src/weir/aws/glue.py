"""Glue: catalog databases and tables, and jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import FEW, ServiceAdapter, blind, changed, picked, split_pair, with_tags
from weir.aws.documents import decode, encode, without_defaults
from weir.aws.errors import Conflict, NotFound, NotYet
from weir.aws.glue_partitions import OPEN, Partitions
from weir.aws.session import AwsSession
from weir.resource import Change, Observed, Resource, Traits

CATALOG_PAGE = 100
"""``MaxResults`` at most (Glue API, "GetDatabases" and "GetTables")."""

JOBS_PAGE = 1000
"""``MaxResults`` at most (Glue API, "GetJobs")."""

TAG = "tag:"
"""A catalog table takes no tags: ours are kept among its parameters, under this prefix."""


def _given(value: Any) -> Any:
    return value or None


class Database(ServiceAdapter):
    """A catalog database, named in lower case. Properties: ``Description``, ``LocationUri``.

    Attributes: ``arn``, ``name``.
    """

    kind = "glue.Database"
    service = "glue"
    tagged_as = ("glue:database",)
    traits = Traits(contains=True)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {key: _given(value) for key, value in properties.items()}

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        databases = self.calls.pages("GetDatabases", "DatabaseList", MaxResults=CATALOG_PAGE)
        return self.tagged(names, map(self._observed, databases))

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetDatabase", name, Name=name)
        if found is None:
            return None
        seen = self._observed(found["Database"])
        return tagged(self, seen)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        name = resource.name
        given = _input(name, resource.properties, ("Description", "LocationUri", "Parameters"))
        try:
            self.calls("CreateDatabase", name, DatabaseInput=given, Tags=dict(tags))
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        return with_tags(self._observed(given), tags)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name = resource.name
        if changed(changes) & set(resource.properties):
            # The call replaces the whole definition: what is not managed is kept as seen.
            whole = {**observed.properties, **resource.properties}
            given = _input(name, whole, ("Description", "LocationUri", "Parameters"))
            self.calls("UpdateDatabase", name, Name=name, DatabaseInput=given)
        _tag(self, observed, tags)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        name = observed.name
        # The call would take the tables along.
        tables = self.calls.find("GetTables", name, DatabaseName=name, MaxResults=1) or {}
        if tables.get("TableList"):
            raise Conflict(
                f"catalog database {name} still has tables ({tables['TableList'][0]['Name']}), and is "
                "never emptied for you: delete them and it will be deleted, or keep it.",
                service=self.service,
                operation="DeleteDatabase",
                resource=name,
                retry_after=300.0,
            )
        self.calls.find("DeleteDatabase", name, Name=name)

    def _observed(self, database: Mapping[str, Any]) -> Observed:
        name = database["Name"]
        arn = self.session.arn("glue", f"database/{name}")
        return Observed(
            name=name,
            properties={
                "Description": _given(database.get("Description")),
                "LocationUri": _given(database.get("LocationUri")),
                "Parameters": _given(database.get("Parameters")),
            },
            attributes={"arn": arn, "name": name},
        )


def split_table(name: str) -> tuple[str, str]:
    """Database and table of a catalog table's name ``database.table``.

    Raises
    ------
    Invalid
        It has not two parts.
    """
    return split_pair(name, ".", "is no database.table", "glue")


STORAGE_DEFAULTS: Mapping[str, Any] = {
    "Compressed": False,
    "NumberOfBuckets": 0,
    "BucketColumns": [],
    "SortColumns": [],
    "Parameters": {},
    "StoredAsSubDirectories": False,
    "SkewedInfo": {},
    "AdditionalLocations": [],
}


FORMAT = "table_type"
"""The parameter that says of a catalog table that it is Iceberg's (Iceberg, *AWS Integrations*,
"Glue Catalog")."""


def _is_iceberg(properties: Mapping[str, Any]) -> bool:
    parameters = properties.get("Parameters") or {}
    return str(parameters.get(FORMAT, "")).upper() == "ICEBERG"


class Table(ServiceAdapter):
    """A catalog table, named ``database.table``.

    Properties: ``TableType``, ``Parameters``, ``PartitionKeys``, ``StorageDescriptor``,
    ``Description``. Attributes: ``arn``. A table that is created over a folder with data knows its
    partitions.

    Of an Iceberg table only its format and its place are told and compared: each commit writes its
    columns and where its metadata is. A write keeps those, and is refused by Glue where a commit
    came between.
    """

    kind = "glue.Table"
    service = "glue"
    # The entry of an Iceberg table says which of its states is the newest; files are found without.
    traits = Traits(data_in=_is_iceberg)

    def __init__(self, session: AwsSession) -> None:
        super().__init__(session)
        self._partitions = Partitions(session)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if _is_iceberg(form):
            return _iceberg(form)
        if "StorageDescriptor" in form:
            form["StorageDescriptor"] = _storage(form["StorageDescriptor"])
        if "PartitionKeys" in form:
            form["PartitionKeys"] = _columns(form["PartitionKeys"])
        if "Parameters" in form:
            form["Parameters"] = {
                key: str(text) for key, text in (form["Parameters"] or {}).items()
            }
        if "Description" in form:
            form["Description"] = _given(form["Description"])
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        databases: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            databases.setdefault(split_table(name)[0], []).append(name)
        found: dict[str, Observed] = {}
        for database, members in databases.items():
            if len(members) <= FEW:
                found |= super().observe(members)
                continue
            found |= self._listed(database, set(members))
        return found

    def _listed(self, database: str, members: Set[str]) -> dict[str, Observed]:
        try:
            tables = list(
                self.calls.pages(
                    "GetTables",
                    "TableList",
                    database,
                    DatabaseName=database,
                    MaxResults=CATALOG_PAGE,
                )
            )
        except NotFound:
            return {}
        named = {f"{database}.{table['Name']}": table for table in tables}
        return {
            name: self._observed(name, table) for name, table in named.items() if name in members
        }

    def look(self, name: str) -> Observed | None:
        database, table = split_table(name)
        found = self.calls.find("GetTable", name, DatabaseName=database, Name=table)
        return self._observed(name, found["Table"]) if found else None

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        folders = [] if _projected(resource) else self._partitions.found(resource.properties)
        given = dict(resource.properties)
        if folders:
            given["Parameters"] = {**(given.get("Parameters") or {}), OPEN: str(len(folders))}
        try:
            made = self._put("CreateTable", resource, given, tags)
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        if folders:
            self._partitions.register(split_table(resource.name)[0], made, folders)
            made = self._put("UpdateTable", resource, resource.properties, tags)
        return self._observed(resource.name, made)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        if not changes and not tagging.missing(observed.tags, tags):
            return observed
        whole = {**observed.properties, **resource.properties}
        if _is_iceberg(whole) or _is_iceberg(observed.properties):
            return self._keep_iceberg(resource, observed, tags)
        if OPEN in (observed.properties.get("Parameters") or {}):
            database, table = split_table(resource.name)
            named = {**self.canonical(whole), "Name": table}
            self._partitions.register(database, named, self._partitions.found(named))
        made = self._put("UpdateTable", resource, whole, {**observed.tags, **tags})
        return self._observed(resource.name, made)

    def _keep_iceberg(
        self, resource: Resource, observed: Observed, tags: Mapping[str, str]
    ) -> Observed:
        """Write the tags of an Iceberg table, and nothing else of it.

        Raises
        ------
        Conflict
            It has another format or another place than wanted: neither can change.
        """
        wanted = self.canonical(resource.properties)
        for key in ("Parameters", "StorageDescriptor"):
            if wanted[key] != observed.properties[key]:
                raise Conflict(
                    f"catalog table {resource.name} is {_described(observed.properties)}, and is to "
                    f"be {_described(wanted)}: the one never becomes the other. Keep what was; or "
                    "delete the table (its objects in S3 stay), after which a new one is made here "
                    "and a backfill brings its rows",
                    service=self.service,
                    operation="UpdateTable",
                    resource=resource.name,
                    retry_after=300.0,
                )
        database, name = split_table(resource.name)
        table = self.calls("GetTable", resource.name, DatabaseName=database, Name=name)["Table"]
        kept = {TAG + key: text for key, text in {**observed.tags, **tags}.items()}
        # An empty text is how Glue tells of none, and it takes none back.
        given = {key: table[key] for key in TABLE_INPUT if table.get(key) not in (None, "")}
        given["Parameters"] = {**(table.get("Parameters") or {}), **kept}
        self.calls(
            "UpdateTable",
            resource.name,
            DatabaseName=database,
            TableInput=given,
            VersionId=table["VersionId"],
        )
        return self._observed(resource.name, given)

    def delete(self, observed: Observed) -> None:
        database, table = split_table(observed.name)
        self.calls.find("DeleteTable", observed.name, DatabaseName=database, Name=table)

    def _put(
        self,
        operation: str,
        resource: Resource,
        properties: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> dict[str, Any]:
        database, table = split_table(resource.name)
        whole = self.canonical(properties)
        given = _input(
            table, whole, ("TableType", "PartitionKeys", "StorageDescriptor", "Description")
        )
        kept = {TAG + key: text for key, text in tags.items()}
        given["Parameters"] = {**(whole.get("Parameters") or {}), **kept}
        self.calls(operation, resource.name, DatabaseName=database, TableInput=given)
        return given

    def _observed(self, name: str, table: Mapping[str, Any]) -> Observed:
        parameters = table.get("Parameters") or {}
        return Observed(
            name=name,
            properties=self.canonical(
                {
                    "TableType": table.get("TableType"),
                    "Description": table.get("Description"),
                    "PartitionKeys": table.get("PartitionKeys") or [],
                    "StorageDescriptor": table.get("StorageDescriptor") or {},
                    "Parameters": {
                        key: text for key, text in parameters.items() if not key.startswith(TAG)
                    },
                }
            ),
            attributes={
                "arn": self.session.arn("glue", f"table/{name.replace('.', '/', 1)}"),
                "name": name,
            },
            tags={
                key.removeprefix(TAG): text
                for key, text in parameters.items()
                if key.startswith(TAG)
            },
        )


TABLE_INPUT = (
    "Name",
    "Description",
    "Owner",
    "LastAccessTime",
    "LastAnalyzedTime",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "TargetTable",
    "ViewDefinition",
)
"""What of a table UpdateTable takes (AWS Glue API, "TableInput"); it resets what is left out."""


def _iceberg(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Format and place alone: all else is the table's own."""
    location = str((properties.get("StorageDescriptor") or {}).get("Location") or "")
    return {
        "TableType": properties.get("TableType"),
        "Parameters": {FORMAT: "ICEBERG"},
        "StorageDescriptor": {"Location": location.rstrip("/")},
    }


def _described(properties: Mapping[str, Any]) -> str:
    location = (properties.get("StorageDescriptor") or {}).get("Location")
    return f"{'Iceberg' if _is_iceberg(properties) else 'Parquet'} at {location}"


def _projected(resource: Resource) -> bool:
    """Whether a table's partitions follow from its parameters, so that none is registered (Athena
    User Guide, *Partition projection*)."""
    return (resource.properties.get("Parameters") or {}).get("projection.enabled") == "true"


def _columns(columns: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [without_defaults(column, {"Comment": "", "Parameters": {}}) for column in columns or ()]


def _storage(value: Mapping[str, Any] | None) -> dict[str, Any]:
    form = without_defaults(value or {}, STORAGE_DEFAULTS)
    if form.get("NumberOfBuckets") == -1:
        del form["NumberOfBuckets"]
    if "Columns" in form:
        form["Columns"] = _columns(form["Columns"])
    if isinstance(form.get("SerdeInfo"), Mapping):
        form["SerdeInfo"] = without_defaults(form["SerdeInfo"], {"Parameters": {}, "Name": ""})
    return form


JOB_FIELDS = (
    "Role",
    "Command",
    "GlueVersion",
    "DefaultArguments",
    "NonOverridableArguments",
    "WorkerType",
    "NumberOfWorkers",
    "Timeout",
    "MaxRetries",
    "ExecutionProperty",
    "ExecutionClass",
    "SecurityConfiguration",
    "Connections",
    "Description",
    "NotificationProperty",
)
JOB_DEFAULTS: Mapping[str, Any] = {
    "MaxRetries": 0,
    "ExecutionProperty": {"MaxConcurrentRuns": 1},
    "ExecutionClass": "STANDARD",
    "DefaultArguments": {},
    "NonOverridableArguments": {},
}


class Job(ServiceAdapter):
    """A Spark job. Properties: as ``CreateJob``. Attributes: ``arn``, ``name``."""

    kind = "glue.Job"
    service = "glue"
    tagged_as = ("glue:job",)
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {key: _given(value) for key, value in properties.items()}
        for key, default in JOB_DEFAULTS.items():
            if key in form:
                form[key] = form[key] or default
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        jobs = self.calls.pages("GetJobs", "Jobs", MaxResults=JOBS_PAGE)
        return self.tagged(names, map(self._observed, jobs))

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetJob", name, JobName=name)
        if found is None:
            return None
        seen = self._observed(found["Job"])
        return tagged(self, seen)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        given = picked(resource.properties, JOB_FIELDS)
        name = resource.name
        try:
            self.calls("CreateJob", name, Name=name, Tags=dict(tags), **given)
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        # AWS fills in more than is asked for, by version and type of the job.
        unknown = set(JOB_FIELDS) - set(given) - set(JOB_DEFAULTS)
        return blind(with_tags(self._observed({"Name": name, **given}), tags), *unknown)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        if changed(changes) & set(JOB_FIELDS):
            # The call replaces the whole definition: what is not managed is kept as seen.
            whole = {**observed.properties, **resource.properties}
            self.calls(
                "UpdateJob",
                resource.name,
                JobName=resource.name,
                JobUpdate=picked(whole, JOB_FIELDS),
            )
        _tag(self, observed, tags)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteJob", observed.name, JobName=observed.name)

    def _observed(self, job: Mapping[str, Any]) -> Observed:
        name = job["Name"]
        arn = self.session.arn("glue", f"job/{name}")
        seen = {**JOB_DEFAULTS, **{key: job[key] for key in JOB_FIELDS if key in job}}
        return Observed(
            name=name,
            properties=self.canonical(seen),
            attributes={"arn": arn, "name": name},
        )


def _input(name: str, properties: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {"Name": name, **picked(properties, fields)}


def tagged(adapter: ServiceAdapter, seen: Observed) -> Observed | None:
    """With its tags; None where it went meanwhile: nobody's it is not."""
    told = adapter.calls.find("GetTags", seen.name, ResourceArn=seen.attributes["arn"])
    return None if told is None else with_tags(seen, told.get("Tags", {}))


def _tag(adapter: ServiceAdapter, observed: Observed, tags: Mapping[str, str]) -> None:
    new = tagging.missing(observed.tags, tags)
    if new:
        arn = observed.attributes["arn"]
        adapter.calls("TagResource", observed.name, ResourceArn=arn, TagsToAdd=new)


CRAWLER_FIELDS = (
    "Role",
    "DatabaseName",
    "Description",
    "Targets",
    "Schedule",
    "Classifiers",
    "TablePrefix",
    "SchemaChangePolicy",
    "RecrawlPolicy",
    "LineageConfiguration",
    "Configuration",
    "CrawlerSecurityConfiguration",
)

CRAWLER_DEFAULTS: Mapping[str, Any] = {
    "SchemaChangePolicy": {
        "UpdateBehavior": "UPDATE_IN_DATABASE",
        "DeleteBehavior": "DEPRECATE_IN_DATABASE",
    },
    "RecrawlPolicy": {"RecrawlBehavior": "CRAWL_EVERYTHING"},
    "LineageConfiguration": {"CrawlerLineageSettings": "DISABLE"},
}
"""What AWS fills in (Glue API, *Crawler structure*)."""

CRAWLED_BY = "UPDATED_BY_CRAWLER"
"""Parameter of a table that a crawler writes: the crawler's name (Glue Developer Guide, *Parameters
set on Data Catalog tables by crawler*)."""

CRAWLERS_PAGE = 1000
"""``MaxResults`` at most (Glue API, "GetCrawlers")."""


class Crawler(ServiceAdapter):
    """A crawler, and the tables that it has written: they go with it.

    Properties: as ``CreateCrawler``, ``Configuration`` as a document. Attributes: ``arn``, ``name``.
    While it runs it can't be changed: it is asked again.
    """

    kind = "glue.Crawler"
    service = "glue"
    tagged_as = ("glue:crawler",)
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {key: _given(value) for key, value in properties.items()}
        for key, default in CRAWLER_DEFAULTS.items():
            if key in form:
                form[key] = form[key] or default
        if "Targets" in form:
            form["Targets"] = _targets(form["Targets"] or {})
        if "Configuration" in form:
            form["Configuration"] = decode(form["Configuration"]) or None
        if isinstance(form.get("Schedule"), Mapping):
            form["Schedule"] = form["Schedule"].get("ScheduleExpression") or None
        if form.get("Role"):
            # It is given by ARN and may come back as the name, with its path.
            form["Role"] = str(form["Role"]).rpartition("/")[2]
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        crawlers = self.calls.pages("GetCrawlers", "Crawlers", MaxResults=CRAWLERS_PAGE)
        return self.tagged(names, map(self._observed, crawlers))

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetCrawler", name, Name=name)
        if found is None:
            return None
        seen = self._observed(found["Crawler"])
        return tagged(self, seen)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        name, given = resource.name, self._call(resource.properties)
        try:
            self.calls("CreateCrawler", name, Name=name, Tags=dict(tags), **given)
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        return with_tags(self._observed({"Name": name, **given}), tags)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name = resource.name
        if changed(changes) & set(CRAWLER_FIELDS):
            self.calls("UpdateCrawler", name, Name=name, **self._call(resource.properties))
        _tag(self, observed, tags)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        name = observed.name
        found = self.calls.find("GetCrawler", name, Name=name)
        if found is None:
            return
        crawler = found["Crawler"]
        if crawler.get("State") == "RUNNING":
            self.calls.find("StopCrawler", name, Name=name)
            raise NotYet(
                f"crawler {name} is being stopped",
                service=self.service,
                operation="DeleteCrawler",
                resource=name,
                retry_after=5.0,
            )
        self._drop_tables(name, crawler.get("DatabaseName") or "", crawler.get("TablePrefix") or "")
        self.calls.find("DeleteCrawler", name, Name=name)

    def _drop_tables(self, name: str, database: str, prefix: str) -> None:
        """Drop what the crawler has written, and nothing that others wrote under such a name."""
        if not database or not prefix:
            return
        try:
            tables = list(
                self.calls.pages(
                    "GetTables",
                    "TableList",
                    database,
                    DatabaseName=database,
                    Expression=f"{prefix}*",
                    MaxResults=CATALOG_PAGE,
                )
            )
        except NotFound:
            return
        for table in tables:
            if (table.get("Parameters") or {}).get(CRAWLED_BY) == name:
                about = f"{database}.{table['Name']}"
                self.calls.find("DeleteTable", about, DatabaseName=database, Name=table["Name"])

    def _call(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        given = picked(properties, CRAWLER_FIELDS)
        if "Configuration" in given:
            given["Configuration"] = encode(decode(given["Configuration"]))
        return given

    def _observed(self, crawler: Mapping[str, Any]) -> Observed:
        name = crawler["Name"]
        seen = {**CRAWLER_DEFAULTS, **{key: crawler.get(key) for key in CRAWLER_FIELDS}}
        return Observed(
            name=name,
            properties=self.canonical(seen),
            attributes={"arn": self.session.arn("glue", f"crawler/{name}"), "name": name},
        )


def _targets(value: Mapping[str, Any]) -> dict[str, Any]:
    """Targets without the kinds that are empty, and their defaults."""
    return {
        kind: [without_defaults(item, {"Exclusions": []}) for item in items]
        for kind, items in value.items()
        if items
    }


ADAPTERS = (Database, Table, Job, Crawler)
