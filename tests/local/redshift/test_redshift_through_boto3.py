"""The Data API, Serverless and clusters through boto3, with IAM deciding."""

from __future__ import annotations

import io
import json
import uuid

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from patience import until
from weir_local.aws.server import LocalAws

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["redshift.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}
PASSWORD = "Passw0rd-1"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with LocalAws(tmp_path_factory.mktemp("redshift")) as running:
        yield running


@pytest.fixture(scope="module")
def root(local):
    return local.admin_session()


@pytest.fixture(scope="module")
def warehouse(root):
    """A workgroup whose COPY role may read bucket ``data`` and nothing else."""
    iam, s3 = root.client("iam"), root.client("s3")
    s3.create_bucket(Bucket="data")
    s3.create_bucket(Bucket="other")
    arn = iam.create_role(RoleName="copy", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"][
        "Arn"
    ]
    allowed = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:ListBucket", "s3:PutObject"],
        "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"],
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="copy", PolicyName="read", PolicyDocument=document)
    serverless = root.client("redshift-serverless")
    serverless.create_namespace(
        namespaceName="warehouse",
        adminUsername="admin",
        adminUserPassword=PASSWORD,
        iamRoles=[arn],
        defaultIamRoleArn=arn,
    )
    serverless.create_workgroup(workgroupName="warehouse", namespaceName="warehouse")
    secret = root.client("secretsmanager").create_secret(
        Name="warehouse", SecretString=json.dumps({"username": "admin", "password": PASSWORD})
    )
    return {"WorkgroupName": "warehouse", "Database": "dev", "SecretArn": secret["ARN"]}


class Sql:
    """Runs SQL as someone, to its end."""

    def __init__(self, session, **target) -> None:
        self.client = session.client("redshift-data")
        self.target = target

    def wait(self, identity: str) -> dict:
        def ended() -> dict | None:
            seen = self.client.describe_statement(Id=identity)
            return seen if seen["Status"] in ("FINISHED", "FAILED", "ABORTED") else None

        return until(ended, pause=0.02)

    def __call__(self, *sqls: str, **more) -> dict:
        if len(sqls) == 1:
            answer = self.client.execute_statement(Sql=sqls[0], **self.target, **more)
        else:
            answer = self.client.batch_execute_statement(Sqls=list(sqls), **self.target, **more)
        return self.wait(answer["Id"])

    def rows(self, sql: str, **more) -> list[list]:
        seen = self(sql, **more)
        assert seen["Status"] == "FINISHED", seen.get("Error")
        records = self.client.get_statement_result(Id=seen["Id"])["Records"]
        return [[next(iter(item.values())) for item in row] for row in records]


@pytest.fixture(scope="module")
def admin(root, warehouse):
    return Sql(root, **warehouse)


def test_typed_fields_and_metadata(admin):
    seen = admin(
        "select 1::bigint a, 1.5::decimal(5,2) b, 'x'::varchar(3) c, true d, 0.5::float8 e, "
        "null::int f, timestamp '2026-01-02 03:04:05' g"
    )
    assert (seen["Status"], seen["HasResultSet"], seen["ResultRows"]) == ("FINISHED", True, 1)
    answer = admin.client.get_statement_result(Id=seen["Id"])
    assert answer["Records"] == [
        [
            {"longValue": 1},
            {"stringValue": "1.50"},
            {"stringValue": "x"},
            {"booleanValue": True},
            {"doubleValue": 0.5},
            {"isNull": True},
            {"stringValue": "2026-01-02 03:04:05"},
        ]
    ]
    kinds = [column["typeName"] for column in answer["ColumnMetadata"]]
    assert kinds == ["int8", "numeric", "varchar", "bool", "float8", "int4", "timestamp"]


def test_a_batch_is_all_or_nothing(admin):
    admin("create table batch (a varchar(3))")
    seen = admin("insert into batch values ('a')", "insert into batch values ('long')", "select 1")
    assert seen["Status"] == "FAILED"
    assert seen["Error"].startswith("Query #2 failed with ERROR: value too long")
    assert [x["Status"] for x in seen["SubStatements"]] == ["FINISHED", "FAILED", "ABORTED"]
    assert admin.rows("select count(*) from batch") == [[0]]
    seen = admin("insert into batch values ('a')", "select a from batch")
    assert [x["ResultRows"] for x in seen["SubStatements"]] == [1, 1]
    part = admin.client.get_statement_result(Id=f"{seen['Id']}:2")
    assert part["Records"] == [[{"stringValue": "a"}]]


def test_a_batch_forbids_what_a_transaction_forbids(admin):
    admin("create table widen (a varchar(3))")
    seen = admin("select 1", "alter table widen alter column a type varchar(9)")
    assert "cannot run inside a transaction block" in seen["Error"]
    assert admin("alter table widen alter column a type varchar(9)")["Status"] == "FINISHED"


def test_a_client_token_runs_once(admin):
    admin("create table once (a int)")
    token = str(uuid.uuid4())
    first = admin("insert into once values (1)", ClientToken=token)
    second = admin("insert into once values (1)", ClientToken=token)
    assert first["Id"] == second["Id"]
    assert admin.rows("select count(*) from once") == [[1]]


def test_parameters_are_values(admin):
    value = "x' or '1'='1"
    rows = admin.rows("select :v as v", Parameters=[{"name": "v", "value": value}])
    assert rows == [[value]]


def test_limits_are_refused_at_once(admin):
    for arguments in ({"Sqls": ["select 1"] * 41}, {"Sqls": ["select '" + "x" * 102_400 + "'"]}):
        with pytest.raises(ClientError, match="ValidationException"):
            admin.client.batch_execute_statement(**arguments, **admin.target)
    with pytest.raises(ClientError, match="doesn't exist"):
        admin.client.execute_statement(Sql="select 1", WorkgroupName="none", Database="dev")


def test_results_come_in_pages(admin):
    admin("create table numbers (a int)")
    for _ in range(4):
        values = ", ".join(f"({n})" for n in range(600))
        admin(f"insert into numbers values {values}")
    seen = admin("select a from numbers")
    pages = admin.client.get_paginator("get_statement_result").paginate(Id=seen["Id"])
    counts = [len(page["Records"]) for page in pages]
    assert counts == [1000, 1000, 400]


def test_a_session_keeps_temporary_tables(admin):
    first = admin.client.execute_statement(
        Sql="create temp table scratch (a int)", SessionKeepAliveSeconds=60, **admin.target
    )
    assert admin.wait(first["Id"])["Status"] == "FINISHED"
    second = admin.client.execute_statement(
        Sql="select * from scratch", SessionId=first["SessionId"]
    )
    assert admin.wait(second["Id"])["Status"] == "FINISHED"
    assert admin("select * from scratch")["Status"] == "FAILED"


def test_a_statement_that_waits_can_be_cancelled(admin):
    admin("create table waited (a int)")
    holder = admin.client.execute_statement(Sql="begin", SessionKeepAliveSeconds=60, **admin.target)
    session = holder["SessionId"]
    admin.wait(holder["Id"])
    admin.wait(admin.client.execute_statement(Sql="lock waited", SessionId=session)["Id"])
    waiting = admin.client.execute_statement(Sql="select * from waited", **admin.target)
    until(lambda: admin.client.describe_statement(Id=waiting["Id"])["Status"] == "STARTED")
    assert admin.client.cancel_statement(Id=waiting["Id"])["Status"]
    assert admin.wait(waiting["Id"])["Status"] == "ABORTED"
    ended = admin.client.execute_statement(Sql="commit", SessionId=session)
    assert admin.wait(ended["Id"])["Status"] == "FINISHED"
    assert admin("select * from waited")["Status"] == "FINISHED"


def test_the_catalog_calls(admin):
    admin("create schema looks")
    admin("create table looks.t (a bigint not null, b varchar(7))")
    client, target = admin.client, admin.target
    assert "looks" in client.list_schemas(**target)["Schemas"]
    tables = client.list_tables(SchemaPattern="looks", **target)["Tables"]
    assert [(x["name"], x["type"]) for x in tables] == [("t", "TABLE")]
    columns = client.describe_table(Schema="looks", Table="t", **target)["ColumnList"]
    assert [(x["name"], x["typeName"], x["nullable"]) for x in columns] == [
        ("a", "int8", 0),
        ("b", "varchar", 1),
    ]


def parquet(root, bucket: str) -> str:
    body = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int64())}), body)
    data = body.getvalue()
    s3 = root.client("s3")
    s3.put_object(Bucket=bucket, Key="f.parquet", Body=data)
    entry = {
        "url": f"s3://{bucket}/f.parquet",
        "mandatory": True,
        "meta": {"content_length": len(data)},
    }
    s3.put_object(Bucket=bucket, Key="m.json", Body=json.dumps({"entries": [entry]}))
    return f"copy loaded from 's3://{bucket}/m.json' iam_role default format parquet manifest"


def test_copy_reads_with_the_roles_rights(root, admin):
    admin("create table loaded (a bigint)")
    seen = admin(parquet(root, "data"))
    assert (seen["Status"], seen["ResultRows"]) == ("FINISHED", 2), seen.get("Error")
    assert "AccessDenied" in admin(parquet(root, "other"))["Error"]
    stranger = "arn:aws:iam::000000000000:role/stranger"
    refused = admin(f"copy loaded from 's3://data/f' iam_role '{stranger}' format parquet")
    assert "is not authorized to assume IAM Role" in refused["Error"]
    unloaded = admin("unload ('select * from loaded') to 's3://data/out/' iam_role default parquet")
    assert unloaded["Status"] == "FINISHED"


def person(root, name: str, actions: list[str], tags: list[dict]):
    iam = root.client("iam")
    iam.create_user(UserName=name, Tags=tags)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(
        key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1"
    ), root.endpoint


class _Client:
    def __init__(self, found) -> None:
        self.session, self.endpoint = found

    def client(self, name: str):
        return self.session.client(name, endpoint_url=self.endpoint)


DATA = ["redshift-data:*", "redshift-serverless:GetCredentials"]
TARGET = {"WorkgroupName": "warehouse", "Database": "dev"}


def test_an_iam_identity_has_the_roles_of_its_tag_and_no_more(root, admin):
    admin("create schema mine")
    admin("create table mine.t (a int)")
    admin("create role tenants")
    admin("grant usage on schema mine to role tenants")
    admin("grant select on mine.t to role tenants")
    tags = [{"Key": "RedshiftDbRoles", "Value": "tenants:absent"}]
    member = Sql(_Client(person(root, "member", DATA, tags)), **TARGET)
    assert member.rows("select current_user") == [["iam:member"]]
    assert member.rows("select count(*) from mine.t") == [[0]]
    assert "permission denied for relation t" in member("insert into mine.t values (1)")["Error"]
    stranger = Sql(_Client(person(root, "stranger", DATA, [])), **TARGET)
    assert "permission denied for schema mine" in stranger("select * from mine.t")["Error"]


def test_statements_belong_to_their_identity(root, admin):
    seen = admin("select 1")
    other = _Client(person(root, "nosy", DATA, [])).client("redshift-data")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        other.describe_statement(Id=seen["Id"])


@pytest.mark.parametrize("missing", ["redshift-data", "redshift-serverless"])
def test_iam_is_asked(root, warehouse, missing):
    actions = [action for action in DATA if not action.startswith(missing + ":")]
    client = _Client(person(root, f"no-{missing}", actions, [])).client("redshift-data")
    with pytest.raises(ClientError) as refused:
        client.execute_statement(Sql="select 1", **TARGET)
    assert "AccessDenied" in refused.value.response["Error"]["Code"]


def test_a_secret_needs_its_right_and_its_password(root, warehouse):
    client = _Client(person(root, "no-secret", DATA, [])).client("redshift-data")
    with pytest.raises(ClientError) as refused:
        client.execute_statement(Sql="select 1", **warehouse)
    assert "secretsmanager:GetSecretValue" in str(refused.value)
    wrong = root.client("secretsmanager").create_secret(
        Name="wrong", SecretString=json.dumps({"username": "admin", "password": "no"})
    )
    sql = Sql(root, **{**warehouse, "SecretArn": wrong["ARN"]})
    assert "password authentication failed" in sql("select 1")["Error"]


def test_a_provisioned_cluster_takes_a_db_user(root):
    redshift = root.client("redshift")
    redshift.create_cluster(
        ClusterIdentifier="prov",
        NodeType="ra3.large",
        MasterUsername="boss",
        MasterUserPassword=PASSWORD,
        DBName="dw",
    )
    (cluster,) = redshift.describe_clusters(ClusterIdentifier="prov")["Clusters"]
    assert (cluster["ClusterStatus"], cluster["DBName"]) == ("available", "dw")
    target = {"ClusterIdentifier": "prov", "Database": "dw"}
    boss = Sql(root, DbUser="boss", **target)
    assert boss.rows("select current_user") == [["boss"]]
    assert "does not exist" in Sql(root, DbUser="nobody", **target)("select 1")["Error"]
    found = redshift.get_cluster_credentials(ClusterIdentifier="prov", DbUser="boss", DbName="dw")
    assert found["DbUser"] == "IAM:boss"
    client = _Client(person(root, "no-prov", DATA, [])).client("redshift-data")
    with pytest.raises(ClientError, match="redshift:GetClusterCredentials"):
        client.execute_statement(Sql="select 1", DbUser="boss", **target)
    redshift.delete_cluster(ClusterIdentifier="prov", SkipFinalClusterSnapshot=True)
    with pytest.raises(ClientError, match="ClusterNotFound"):
        redshift.describe_clusters(ClusterIdentifier="prov")
