"""The statements that the local Redshift knows, parsed."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from weir_local.redshift.types import Type


@dataclass(frozen=True)
class Name:
    """A table's or view's name; the schema is empty where the statement leaves it to the path."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True)
class ColumnDef:
    """A column of CREATE TABLE or ADD COLUMN. ``default`` is SQL."""

    name: str
    type: Type
    not_null: bool = False
    default: str = ""
    encode: str = ""
    distkey: bool = False
    sortkey: bool = False


@dataclass(frozen=True)
class Constraint:
    """PRIMARY KEY, UNIQUE or FOREIGN KEY: kept, shown, not enforced."""

    kind: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Begin:
    """BEGIN or START TRANSACTION."""


@dataclass(frozen=True)
class Commit:
    """COMMIT or END."""


@dataclass(frozen=True)
class Rollback:
    """ROLLBACK or ABORT."""


@dataclass(frozen=True)
class CreateSchema:
    """CREATE SCHEMA."""

    name: str
    if_not_exists: bool
    owner: str


@dataclass(frozen=True)
class AlterSchema:
    """ALTER SCHEMA .. OWNER TO."""

    name: str
    owner: str


@dataclass(frozen=True)
class DropSchema:
    """DROP SCHEMA."""

    name: str
    if_exists: bool
    cascade: bool


@dataclass(frozen=True)
class CreateTable:
    """CREATE [TEMP] TABLE with columns, LIKE or AS."""

    name: Name
    if_not_exists: bool = False
    temporary: bool = False
    columns: tuple[ColumnDef, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    like: Name | None = None
    like_defaults: bool = False
    query: str = ""
    diststyle: str = ""
    distkey: str = ""
    sortkeys: tuple[str, ...] = ()


@dataclass(frozen=True)
class CreateView:
    """CREATE [OR REPLACE] VIEW."""

    name: Name
    replace: bool
    query: str


@dataclass(frozen=True)
class Drop:
    """DROP TABLE or DROP VIEW."""

    kind: str
    names: tuple[Name, ...]
    if_exists: bool
    cascade: bool


@dataclass(frozen=True)
class AlterTable:
    """ALTER TABLE with one action: ``add``, ``drop``, ``type``, ``rename``, ``renameColumn``,
    ``owner``, ``constraint``, ``dist``, ``sort``, ``encode`` or ``append``."""

    name: Name
    action: str
    column: ColumnDef | None = None
    old: str = ""
    new: str = ""
    type: Type | None = None
    cascade: bool = False
    columns: tuple[str, ...] = ()
    source: Name | None = None


@dataclass(frozen=True)
class Truncate:
    """TRUNCATE: commits."""

    name: Name


@dataclass(frozen=True)
class Lock:
    """LOCK tables until the transaction ends."""

    names: tuple[Name, ...]


@dataclass(frozen=True)
class Copy:
    """COPY from S3. ``format`` is parquet, json or csv (which also stands for delimited text)."""

    name: Name
    columns: tuple[str, ...]
    source: str
    role: str
    format: str
    json: str = "auto"
    manifest: bool = False
    region: str = ""
    gzip: bool = False
    delimiter: str = "|"
    quote: str = ""
    ignore_header: int = 0
    null_as: str = "\\N"
    max_error: int = 0
    date_format: str = ""
    time_format: str = ""
    serialize_to_json: bool = False
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Unload:
    """UNLOAD a query's rows to S3. ``format`` is parquet, json, csv or text."""

    query: str
    target: str
    role: str
    format: str = "text"
    delimiter: str = "|"
    header: bool = False
    gzip: bool = False
    manifest: bool = False
    manifest_verbose: bool = False
    allow_overwrite: bool = False
    clean_path: bool = False
    parallel: bool = True
    extension: str = ""
    null_as: str = ""
    partition_by: tuple[str, ...] = ()
    include_partitions: bool = False
    region: str = ""
    kms_key_id: str = ""


@dataclass(frozen=True)
class Grantee:
    """Whom a privilege is given to: ``user``, ``role`` or ``public``."""

    kind: str
    name: str = ""


@dataclass(frozen=True)
class Privileges:
    """GRANT or REVOKE of privileges on ``table``, ``schema``, ``database`` or ``allTables``."""

    grant: bool
    privileges: tuple[str, ...]
    kind: str
    objects: tuple[Name, ...]
    grantees: tuple[Grantee, ...]
    with_grant: bool = False


@dataclass(frozen=True)
class RoleMembership:
    """GRANT ROLE or REVOKE ROLE."""

    grant: bool
    roles: tuple[str, ...]
    grantees: tuple[Grantee, ...]


@dataclass(frozen=True)
class DefaultPrivileges:
    """ALTER DEFAULT PRIVILEGES: what tables made later carry."""

    owner: str
    schemas: tuple[str, ...]
    grant: bool
    privileges: tuple[str, ...]
    grantees: tuple[Grantee, ...]


@dataclass(frozen=True)
class CreateUser:
    """CREATE USER. ``password`` is None for PASSWORD DISABLE."""

    name: str
    password: str | None = field(repr=False)
    superuser: bool = False


@dataclass(frozen=True)
class AlterUser:
    """ALTER USER. A None leaves things as they are."""

    name: str
    password: str | None = field(default=None, repr=False)
    superuser: bool | None = None


@dataclass(frozen=True)
class CreateRole:
    """CREATE ROLE."""

    name: str


@dataclass(frozen=True)
class DropPrincipal:
    """DROP USER or DROP ROLE."""

    kind: str
    name: str
    if_exists: bool
    force: bool = False


@dataclass(frozen=True)
class CreateDatabase:
    """CREATE DATABASE."""

    name: str


@dataclass(frozen=True)
class Setting:
    """SET, RESET or SHOW of a session's parameter."""

    verb: str
    name: str
    value: str = ""


@dataclass(frozen=True)
class Maintenance:
    """ANALYZE, VACUUM or COMMENT: nothing to do here once the name is known."""

    verb: str
    name: Name | None


@dataclass(frozen=True)
class Dml:
    """SELECT, INSERT, UPDATE, DELETE: sqlglot's tree, identifiers folded."""

    tree: exp.Expr


@dataclass(frozen=True)
class Merge:
    """MERGE: sqlglot's tree, or REMOVE DUPLICATES with its target, source and condition."""

    tree: exp.Merge
    remove_duplicates: bool = False


Command = (
    Begin
    | Commit
    | Rollback
    | CreateSchema
    | AlterSchema
    | DropSchema
    | CreateTable
    | CreateView
    | Drop
    | AlterTable
    | Truncate
    | Lock
    | Copy
    | Unload
    | Privileges
    | RoleMembership
    | DefaultPrivileges
    | CreateUser
    | AlterUser
    | CreateRole
    | DropPrincipal
    | CreateDatabase
    | Setting
    | Maintenance
    | Dml
    | Merge
)
