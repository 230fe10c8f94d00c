"""Warehouses outlive the local AWS's process, though its secrets and roles do not."""

from __future__ import annotations

import json

from weir_local.aws.server import LocalAws

TARGET = {"WorkgroupName": "warehouse", "Database": "dev", "WaitTimeSeconds": 20}


def run(client, secret: str, sql: str) -> dict:
    answer = client.execute_statement(Sql=sql, SecretArn=secret, **TARGET)
    return client.describe_statement(Id=answer["Id"])


def new_secret(session, password: str) -> str:
    text = json.dumps({"username": "admin", "password": password})
    manager = session.client("secretsmanager")
    return manager.create_secret(Name="admin", SecretString=text)["ARN"]


def test_tables_survive_and_the_admin_can_get_a_new_password(tmp_path):
    with LocalAws(tmp_path) as local:
        session = local.admin_session()
        serverless = session.client("redshift-serverless")
        serverless.create_namespace(
            namespaceName="warehouse", adminUsername="admin", adminUserPassword="First-Passw0rd"
        )
        serverless.create_workgroup(workgroupName="warehouse", namespaceName="warehouse")
        secret = new_secret(session, "First-Passw0rd")
        data = session.client("redshift-data")
        for sql in ("create table kept (a varchar(3))", "insert into kept values ('abc')"):
            assert run(data, secret, sql)["Status"] == "FINISHED"
    with LocalAws(tmp_path) as local:
        session = local.admin_session()
        secret = new_secret(session, "Second-Passw0rd")
        data = session.client("redshift-data")
        refused = run(data, secret, "select 1")
        assert "password authentication failed" in refused["Error"]
        session.client("redshift-serverless").update_namespace(
            namespaceName="warehouse", adminUserPassword="Second-Passw0rd"
        )
        assert run(data, secret, "select * from kept")["ResultRows"] == 1
        assert "value too long" in run(data, secret, "insert into kept values ('abcd')")["Error"]
