"""Schemas and tables of the warehouse, through the Data API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from weir.aws.calls import Calls
from weir.aws.errors import (
    AccessDenied,
    Conflict,
    Invalid,
    NotFound,
    NotYet,
    Transient,
    WriteRefused,
)
from weir.aws.redshift import (
    Schema,
    Table,
    Warehouse,
    alter_statements,
    column_type,
    grant_statements,
    schema_name,
    table_changes,
    table_name,
    table_rewrites,
)
from weir.aws.redshift_data import Connection, Statements, failure
from weir.aws.session import AwsSession, Target
from weir.reconcile.diff import changes
from weir.resource import Adapter, Change, Observed, Resource

WORKGROUP = "adapters"
DATABASE = "dev"


@pytest.fixture(scope="module")
def connection(session: AwsSession) -> Connection:
    """A workgroup and the secret of its administrator."""
    serverless, secrets = Calls(session, "redshift-serverless"), Calls(session, "secretsmanager")
    login = {"username": "admin", "password": "Weir-tests-1"}
    serverless(
        "CreateNamespace",
        namespaceName=WORKGROUP,
        adminUsername=login["username"],
        adminUserPassword=login["password"],
        dbName=DATABASE,
    )
    serverless("CreateWorkgroup", workgroupName=WORKGROUP, namespaceName=WORKGROUP)
    secret = secrets("CreateSecret", Name="redshift-admin", SecretString=json.dumps(login))["ARN"]
    return Connection("serverless", WORKGROUP, DATABASE, secret)


def difference(adapter: Adapter, resource: Resource, seen: Observed) -> tuple[Change, ...]:
    """What the engine would say differs."""
    wanted = replace(resource, properties=adapter.traits.canonical(resource.properties))
    return changes(wanted, seen, adapter.traits)


def schema(connection: Connection, name: str, roles: Mapping[str, Any], **more: Any) -> Resource:
    """A schema that is wanted."""
    properties = {"Roles": roles, **more}
    return Resource(
        "redshift.Schema", "schema", schema_name(connection, name), properties, tagged=False
    )


def orders(connection: Connection, *, name: str, note: str = "VARCHAR(32)") -> Resource:
    """A table that is wanted, in a schema of its own."""
    columns = [
        {"name": "id", "type": "BIGINT", "nullable": False},
        {"name": "customerName", "type": note, "nullable": True},
        {"name": "price", "type": "DECIMAL(12,2)", "nullable": True},
        {"name": "at", "type": "TIMESTAMPTZ", "nullable": True},
        {"name": "ratio", "type": "DOUBLE PRECISION", "nullable": True},
        {"name": "extra", "type": "SUPER", "nullable": True},
    ]
    lines = [
        f'"{column["name"].lower()}" {column["type"]}{"" if column["nullable"] else " NOT NULL"}'
        for column in columns
    ]
    ddl = (
        f'CREATE TABLE IF NOT EXISTS "{name}"."orders" ({", ".join(lines)}, '
        '"_weir_run" VARCHAR(128), "_weir_sequence" BIGINT) '
        'DISTSTYLE KEY DISTKEY ("id") SORTKEY ("at", "id")'
    )
    properties = {"Columns": columns, "DistKey": "id", "SortKey": ["at", "id"], "Ddl": ddl}
    return Resource(
        "redshift.Table", "table", table_name(connection, name, "orders"), properties, tagged=False
    )


@pytest.mark.aws
def test_a_workgroup_says_what_it_is(session: AwsSession, connection: Connection) -> None:
    adapter = Warehouse(session)
    for name in (WORKGROUP, f"serverless:{WORKGROUP}"):
        seen = adapter.observe([name])[name]
        assert seen.settled
        assert seen.properties == {"Kind": "serverless"}
        assert ":workgroup/" in seen.attributes["arn"]
    assert adapter.observe(["none", "serverless:none", "provisioned:none"]) == {}
    with pytest.raises(Invalid, match="does not create it"):
        adapter.create(Resource("redshift.Warehouse", "w", "none"), {})


@pytest.mark.aws
def test_a_schema_lives_from_create_to_delete(session: AwsSession, connection: Connection) -> None:
    adapter = Schema(session)
    wanted = schema(
        connection,
        "Sales",
        {"weir_team": ["usage", "create", "select", "insert"]},
        Users={"weir_team_loader": ["weir_team"]},
    )
    assert adapter.observe([wanted.name]) == {}
    made = adapter.create(wanted, {})
    assert difference(adapter, wanted, made) == ()
    assert difference(adapter, wanted, adapter.observe([wanted.name])[wanted.name]) == ()

    sql = Statements(session)
    sql.execute(connection, ['REVOKE CREATE ON SCHEMA "sales" FROM ROLE "weir_team"'])
    drifted = adapter.observe([wanted.name])[wanted.name]
    drift = difference(adapter, wanted, drifted)
    assert [change.path for change in drift] == ["Roles.weir_team"]
    mended = adapter.update(wanted, drifted, drift, {})
    assert difference(adapter, wanted, mended) == ()

    less = schema(connection, "Sales", {"weir_team": ["usage", "select"]})
    seen = adapter.update(less, mended, difference(adapter, less, mended), {})
    assert seen.properties["Roles"] == {"weir_team": ["SELECT", "USAGE"]}

    adapter.delete(seen)
    assert adapter.observe([wanted.name]) == {}
    adapter.delete(seen)


@pytest.mark.aws
def test_a_schema_with_tables_is_not_emptied(session: AwsSession, connection: Connection) -> None:
    adapter = Schema(session)
    made = adapter.create(schema(connection, "full", {"weir_team": ["USAGE"]}), {})
    Table(session).create(orders(connection, name="full"), {})
    with pytest.raises(Conflict, match="never emptied"):
        adapter.delete(made)
    assert adapter.observe([made.name])[made.name].properties["Roles"] == {"weir_team": ["USAGE"]}


@pytest.mark.aws
def test_a_table_lives_from_create_to_delete(session: AwsSession, connection: Connection) -> None:
    Schema(session).create(schema(connection, "shop", {}), {})
    adapter = Table(session)
    wanted = orders(connection, name="shop")
    assert adapter.observe([wanted.name]) == {}
    made = adapter.create(wanted, {})
    assert difference(adapter, wanted, made) == ()

    longer = orders(connection, name="shop", note="VARCHAR(64)")
    columns = [*longer.properties["Columns"], {"name": "Note", "type": "VARCHAR(8)"}]
    longer = replace(longer, properties={**longer.properties, "Columns": columns})
    drift = difference(adapter, longer, made)
    assert {change.path for change in drift} == {"Columns"}
    seen = adapter.update(longer, made, drift, {})
    assert difference(adapter, longer, seen) == ()

    back = difference(adapter, wanted, seen)
    with pytest.raises(Invalid, match=r"customername is VARCHAR.64., not VARCHAR.32."):
        adapter.update(wanted, seen, back, {})

    adapter.delete(seen)
    assert adapter.observe([wanted.name]) == {}
    adapter.delete(seen)


@pytest.mark.aws
@pytest.mark.parametrize("adapter", [Schema, Table])
def test_a_secret_that_is_gone_hides_its_own_names_alone(
    session: AwsSession, connection: Connection, adapter: type[Schema | Table]
) -> None:
    """Names of before a change of the admin secret must not stop those of after it."""
    former = replace(connection, secret_arn=connection.secret_arn + "-gone")
    one = adapter(session)
    wanted = (
        schema(connection, "after", {}) if adapter is Schema else orders(connection, name="after_t")
    )
    if adapter is Table:
        Schema(session).create(schema(connection, "after_t", {}), {})
    one.create(wanted, {})
    names = [wanted.name, former.prefix + Connection.parse(wanted.name)[1]]
    assert list(one.observe(names)) == [wanted.name]
    assert one.observe(names[1:]) == {}
    with pytest.raises(Invalid, match="Secrets Manager"):
        one.create(replace(wanted, name=names[1]), {})


def test_a_plan_reads_the_warehouse_and_does_not_write(
    session: AwsSession, connection: Connection
) -> None:
    target = Target(session.region, endpoint_url=session.target.endpoint_url)
    reader = AwsSession(target, dry_run=True)
    name = schema_name(connection, "unborn")
    assert Schema(reader).observe([name]) == {}
    with pytest.raises(WriteRefused):
        Schema(reader).create(schema(connection, "unborn", {}), {})


@pytest.mark.aws
def test_wrong_sql_says_where_and_what(session: AwsSession, connection: Connection) -> None:
    with pytest.raises(NotFound, match=r"adapters, database dev: .*does not exist"):
        Statements(session).execute(connection, ['DROP SCHEMA "nowhere"'], "nowhere")


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("ERROR: permission denied for schema sales", AccessDenied),
        ('ERROR: Relation "x" already exists', Conflict),
        ("ERROR: cannot drop schema x because other objects depend on it", Conflict),
        ("ERROR: 1023 DETAIL: Serializable isolation violation on table", Transient),
        ('ERROR: schema "x" does not exist', NotFound),
        ('ERROR: syntax error at or near "GRAND"', Invalid),
    ],
)
def test_a_failed_statement_has_its_outcome(text: str, outcome: type[Exception]) -> None:
    error = failure(Connection("serverless", "w", "dev", "arn:secret"), text, "thing")
    assert type(error) is outcome
    assert "w, database dev" in str(error)


def test_names_carry_the_connection() -> None:
    there = Connection("serverless", "wg", "dev", "arn:aws:secretsmanager:eu:1:secret:a-b")
    assert Connection.parse(table_name(there, "Sales", "Orders")) == (there, "sales.orders")
    nobody = Connection("provisioned", "cluster", "dev")
    assert Connection.parse(schema_name(nobody, "sales")) == (nobody, "sales")
    assert nobody.parameters == {"ClusterIdentifier": "cluster", "Database": "dev"}
    for wrong in ("wg|dev||s", "serverless:wg|dev|s", "serverless:|dev||s", "other:wg|dev||s"):
        with pytest.raises(Invalid):
            Connection.parse(wrong)


@pytest.mark.parametrize(
    ("catalog", "name"),
    [
        ("character varying(256)", "VARCHAR(256)"),
        ("varchar", "VARCHAR(256)"),
        ("VARCHAR(65535)", "VARCHAR(65535)"),
        ("bigint", "BIGINT"),
        ("int8", "BIGINT"),
        ("numeric(12,2)", "DECIMAL(12,2)"),
        ("DECIMAL(12, 2)", "DECIMAL(12,2)"),
        ("numeric", "DECIMAL(18,0)"),
        ("double precision", "DOUBLE PRECISION"),
        ("timestamp without time zone", "TIMESTAMP"),
        ("timestamp with time zone", "TIMESTAMPTZ"),
        ("timestamp(6) without time zone", "TIMESTAMP"),
        ("binary varying(1024000)", "VARBYTE(1024000)"),
        ("boolean", "BOOLEAN"),
        ("super", "SUPER"),
        ("date", "DATE"),
    ],
)
def test_a_type_has_one_spelling(catalog: str, name: str) -> None:
    assert column_type(catalog) == name
    assert column_type(name) == name


def column(name: str, kind: str = "BIGINT", nullable: bool = True) -> dict[str, Any]:
    """A column as the adapter compares it."""
    return {"name": name, "type": kind, "nullable": nullable}


def test_a_new_column_is_added_and_a_varchar_widened() -> None:
    seen = [column("a"), column("b", "VARCHAR(8)")]
    wanted = [column("a"), column("b", "VARCHAR(16)"), column("c", "SUPER")]
    assert alter_statements("s", "t", seen, wanted) == (
        [
            'ALTER TABLE "s"."t" ALTER COLUMN "b" TYPE VARCHAR(16)',
            'ALTER TABLE "s"."t" ADD COLUMN "c" SUPER',
        ],
        [],
    )


def test_a_wider_number_is_written_anew_where_landings_brought_it_and_nowhere_else() -> None:
    name = "serverless:wg|dev|arn:secret|s.t"
    before = [column("a"), column("b", "DECIMAL(10,2)"), column("c"), column("d", nullable=False)]
    after = [
        column("a", "DECIMAL(21,2)"),
        column("b", "DECIMAL(23,4)"),
        column("c", "DECIMAL(20,1)"),
        column("d", "DECIMAL(20,1)", nullable=False),
    ]
    seen = Observed(name, {"Columns": before, "DistKey": None, "SortKey": ["c"]})
    wanted = Resource(
        "redshift.Table", "t", name, {"Columns": after, "Widened": ["a", "b", "c", "d"]}
    )
    changes = [Change("Columns", before, after)]
    statements, refused = table_changes(wanted, seen, changes)
    assert statements == []
    assert [text.partition(" is ")[0] for text in refused] == ["column c", "column d"]
    rewrites = table_rewrites(wanted, seen, changes)
    assert [one[1] for one in rewrites] == [
        'UPDATE "s"."t" SET "_weir_rewritten" = "a"',
        'UPDATE "s"."t" SET "_weir_rewritten" = "b"',
    ]
    plain = Resource("redshift.Table", "t", name, {"Columns": after})
    assert len(table_changes(plain, seen, changes)[1]) == 4
    assert table_rewrites(plain, seen, changes) == []


@pytest.mark.parametrize(
    ("seen", "wanted", "reason"),
    [
        (column("b", "VARCHAR(16)"), column("b", "VARCHAR(8)"), "is VARCHAR(16), not VARCHAR(8)"),
        (column("b"), column("b", "VARCHAR(8)"), "is BIGINT, not VARCHAR(8)"),
        (column("b"), column("b", nullable=False), "is nullable, not not nullable"),
        (column("b"), column("a"), "no longer in the contract"),
        (column("a"), column("b", nullable=False), "new and not nullable"),
    ],
)
def test_all_else_is_refused_with_the_reason(
    seen: dict[str, Any], wanted: dict[str, Any], reason: str
) -> None:
    _, refused = alter_statements("s", "t", [seen], [wanted])
    assert reason in "; ".join(refused)


def test_grants_go_from_what_is_to_what_is_wanted() -> None:
    assert grant_statements(
        "s", {"weir_a": ["USAGE", "INSERT"]}, {"weir_a": ["USAGE", "SELECT"]}
    ) == [
        'REVOKE INSERT ON ALL TABLES IN SCHEMA "s" FROM ROLE "weir_a"',
        'ALTER DEFAULT PRIVILEGES IN SCHEMA "s" REVOKE INSERT ON TABLES FROM ROLE "weir_a"',
        'GRANT SELECT ON ALL TABLES IN SCHEMA "s" TO ROLE "weir_a"',
        'ALTER DEFAULT PRIVILEGES IN SCHEMA "s" GRANT SELECT ON TABLES TO ROLE "weir_a"',
    ]
    assert grant_statements("s", {}, {"weir_a": ["USAGE", "CREATE"]}) == [
        'GRANT CREATE, USAGE ON SCHEMA "s" TO ROLE "weir_a"'
    ]
    assert grant_statements("s", {"weir_a": ["USAGE"]}, {"weir_a": ["USAGE"]}) == []


def test_roles_of_others_are_not_ours_to_grant(session: AwsSession) -> None:
    with pytest.raises(Invalid, match="begins with 'weir'"):
        Schema(session).canonical({"Roles": {"analysts": ["USAGE"]}})
    with pytest.raises(Invalid, match="FLY is no privilege"):
        Schema(session).canonical({"Roles": {"weir_a": ["FLY"]}})


class SlowWarehouse(BaseHTTPRequestHandler):
    """The Data API of a workgroup that wakes up slowly: a statement ends at its third look."""

    submitted: ClassVar[list[str]] = []
    looks: ClassVar[dict[str, int]] = {}

    def do_POST(self) -> None:
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = json.dumps(getattr(self, operation)(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def ExecuteStatement(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take one statement."""
        self.submitted.append(body["Sql"])
        return {"Id": str(len(self.submitted))}

    def DescribeStatement(self, body: dict[str, Any]) -> dict[str, Any]:
        """Say how far it is."""
        seen = self.looks[body["Id"]] = self.looks.get(body["Id"], 0) + 1
        status = "FINISHED" if seen > 2 else "PICKED"
        return {"Id": body["Id"], "Status": status, "HasResultSet": True}

    def GetStatementResult(self, body: dict[str, Any]) -> dict[str, Any]:
        """Two pages of one row each."""
        columns = [{"name": "n"}, {"name": "t"}]
        if "NextToken" in body:
            return {"ColumnMetadata": columns, "Records": [[{"longValue": 2}, {"isNull": True}]]}
        row = [{"longValue": 1}, {"stringValue": "a"}]
        return {"ColumnMetadata": columns, "Records": [row], "NextToken": "more"}

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def slow(credentials: None) -> Iterator[AwsSession]:
    """A session whose endpoint is the slow warehouse."""
    SlowWarehouse.submitted.clear()
    SlowWarehouse.looks.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowWarehouse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield AwsSession(
        Target("eu-central-1", endpoint_url=f"http://127.0.0.1:{server.server_address[1]}")
    )
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_statement_that_takes_long_is_gone_on_with_and_not_sent_twice(slow: AwsSession) -> None:
    statements = Statements(slow, seconds=0)
    there = Connection("serverless", "slow", "dev")
    for _ in range(2):
        with pytest.raises(NotYet, match="statement 1 is PICKED") as waiting:
            statements.query(there, "SELECT 1")
        assert waiting.value.retry_after == 5.0
    assert statements.query(there, "SELECT 1") == [{"n": 1, "t": "a"}, {"n": 2, "t": None}]
    assert SlowWarehouse.submitted == ["SELECT 1"]


def test_a_statement_that_ended_is_sent_again_when_asked_again(slow: AwsSession) -> None:
    statements = Statements(slow)
    there = Connection("serverless", "slow", "dev")
    statements.query(there, "SELECT 1")
    statements.query(there, "SELECT 1")
    assert SlowWarehouse.submitted == ["SELECT 1", "SELECT 1"]
