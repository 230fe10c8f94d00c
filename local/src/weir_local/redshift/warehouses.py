"""The warehouses of the account: namespaces and clusters, their databases on disk, their roles."""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from weir_local.redshift.database import PRINCIPALS_LOCK, Database, Directory
from weir_local.redshift.errors import SqlError
from weir_local.redshift.execute import Session
from weir_local.redshift.locks import Mode
from weir_local.redshift.objects import ObjectStore, S3Store
from weir_local.redshift.principals import User

ROLE_SESSION_SECONDS = 3_600
SERVICE_PRINCIPALS = ("redshift.amazonaws.com", "redshift-serverless.amazonaws.com")


@dataclass
class Warehouse:
    """A namespace or a cluster: databases that share users.

    Parameters
    ----------
    name
        The namespace's name or the cluster's identifier.
    path
        Where its files are.
    region, account
        Where AWS would have it.
    admin
        The admin user's name.
    database
        The database that it comes with.
    roles
        ARNs of the IAM roles attached to it.
    default_role
        The role that ``IAM_ROLE DEFAULT`` means; empty if none.
    """

    name: str
    path: Path
    region: str
    account: str
    admin: str
    database: str
    roles: list[str]
    default_role: str
    directory: Directory = field(init=False)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.directory = Directory(self.path / "principals.json")
        self._databases: dict[str, Database] = {}
        self._mutex = threading.Lock()

    def set_admin(self, user: str, password: str) -> None:
        """Make the admin, a superuser, or change its password."""
        principals = self.directory.principals.copy()
        if user not in principals.users:
            principals.create_user(user, password, superuser=True)
        elif password:
            principals.set_password(user, password)
        self.directory.replace(principals)

    def federate(self, name: str, roles: list[str]) -> None:
        """Make the user that stands for an IAM identity, with the roles of its tag."""
        if self._federated(name, roles):
            return
        # Beside a transaction that changes users, one of the two changes would be lost.
        holder = -threading.get_ident()
        locks = self.directory.locks
        locks.acquire(holder, PRINCIPALS_LOCK, Mode.EXCLUSIVE, threading.Event())
        try:
            principals = self.directory.principals.copy()
            if name not in principals.users:
                principals.create_user(name, None)
            principals.users[name].federated = [x for x in roles if x in principals.roles]
            self.directory.replace(principals)
        finally:
            locks.release(holder)

    def _federated(self, name: str, roles: list[str]) -> bool:
        principals = self.directory.principals
        user = principals.users.get(name)
        return user is not None and user.federated == [x for x in roles if x in principals.roles]

    def user(self, name: str) -> User | None:
        """A database user, or None."""
        return self.directory.principals.users.get(name)

    def open(self, name: str) -> Database:
        """A database of this warehouse.

        Raises
        ------
        SqlError
            There is none of this name.
        """
        with self._mutex:
            if name in self._databases:
                return self._databases[name]
            path = self.path / f"{name}.duckdb"
            if name != self.database and not path.exists():
                raise SqlError(f'database "{name}" does not exist')
            return self._open(name, path)

    def _open(self, name: str, path: Path) -> Database:
        found = Database(name, path, self.admin)
        self._databases[name] = found
        return found

    def create_database(self, name: str) -> None:
        """CREATE DATABASE."""
        with self._mutex:
            path = self.path / f"{name}.duckdb"
            if name == self.database or path.exists():
                raise SqlError(f'database "{name}" already exists')
            self._open(name, path)

    def session(self, database: str, user: str) -> Session:
        """Connect.

        Raises
        ------
        SqlError
            There is no such database or user.
        """
        if self.user(user) is None:
            raise SqlError(f'user "{user}" does not exist')
        return Session(
            self.open(database),
            self.directory,
            user,
            lambda role: self.assume(role, user),
            self.create_database,
        )

    def assume(self, role: str, user: str) -> ObjectStore:
        """S3 with the rights of an attached role.

        Raises
        ------
        SqlError
            The role is not attached, does not exist or does not trust Redshift.
        """
        arn = self.default_role if role == "default" else role
        who = f"arn:aws:redshift:{self.region}:{self.account}:dbuser:{self.name}/{user}"
        refusal = SqlError(f"User {who} is not authorized to assume IAM Role {arn or 'DEFAULT'}")
        if arn not in self.roles or not _trusts_redshift(arn):
            raise refusal
        keys = _role_keys(arn)
        client: Any = boto3.client(
            "s3",
            endpoint_url=_registry().endpoint,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
            aws_access_key_id=keys["aws_access_key_id"],
            aws_secret_access_key=keys["aws_secret_access_key"],
            aws_session_token=keys["aws_session_token"],
        )
        return S3Store(client)

    def close(self) -> None:
        """Close its databases."""
        with self._mutex:
            for database in self._databases.values():
                database.close()
            self._databases.clear()


def _role(arn: str) -> dict[str, Any] | None:
    from ministack.core.responses import request_scope
    from ministack.services import iam

    account = arn.split(":")[4] if arn.count(":") >= 5 else ""
    with request_scope(account, "us-east-1"):
        role: dict[str, Any] | None = iam._roles.get(arn.rsplit("/", 1)[-1])
    return role if role is not None and role.get("Arn") == arn else None


def _trusts_redshift(arn: str) -> bool:
    role = _role(arn)
    if role is None:
        return False
    document = role.get("AssumeRolePolicyDocument", "{}")
    trust = json.loads(document) if isinstance(document, str) else document
    statements = trust.get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        services = statement.get("Principal", {})
        named = services.get("Service", []) if isinstance(services, dict) else []
        listed = [named] if isinstance(named, str) else named
        if statement.get("Effect") == "Allow" and set(listed) & set(SERVICE_PRINCIPALS):
            return True
    return False


def _role_keys(arn: str) -> dict[str, str]:
    from ministack.services import iam, sts

    access_key = iam._gen_session_access_key()
    secret, token = iam._gen_secret(), iam._gen_session_token()
    account, name = arn.split(":")[4], arn.rsplit("/", 1)[-1]
    sts.register_session(
        access_key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/RedshiftIamRoleSession",
            "UserId": f"{sts._role_id(arn)}:RedshiftIamRoleSession",
            "SecretAccessKey": secret,
            "SessionToken": token,
            "Expiration": time.time() + ROLE_SESSION_SECONDS,
            "AccountId": account,
            "PrincipalType": "AssumedRole",
        },
    )
    return {
        "aws_access_key_id": access_key,
        "aws_secret_access_key": secret,
        "aws_session_token": token,
    }


Document = dict[str, Any]


class Registry:
    """What was created: kept in ``warehouses.json``, databases beside it.

    Parameters
    ----------
    state
        The directory.
    endpoint
        URL of the local AWS.
    """

    def __init__(self, state: Path, endpoint: str) -> None:
        self.state = state / "redshift"
        self.endpoint = endpoint
        self.state.mkdir(parents=True, exist_ok=True)
        self._path = self.state / "warehouses.json"
        self.mutex = threading.RLock()
        self.kinds: dict[str, dict[str, Document]] = {
            "namespaces": {},
            "workgroups": {},
            "clusters": {},
        }
        if self._path.exists():
            self.kinds.update(json.loads(self._path.read_text()))
        self._warehouses: dict[str, Warehouse] = {}

    def save(self) -> None:
        """Write what was created."""
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.kinds))
        temporary.replace(self._path)

    def put(self, kind: str, account: str, region: str, name: str, document: Document) -> None:
        """Keep a namespace, workgroup or cluster."""
        with self.mutex:
            self.kinds[kind][_key(account, region, name)] = document
            self.save()

    def get(self, kind: str, account: str, region: str, name: str) -> Document | None:
        """The namespace, workgroup or cluster of this name."""
        return self.kinds[kind].get(_key(account, region, name))

    def all(self, kind: str, account: str, region: str) -> list[Document]:
        """All of a kind in one account and region, by name."""
        prefix = _key(account, region, "")
        found = self.kinds[kind]
        return [found[key] for key in sorted(found) if key.startswith(prefix)]

    def remove(self, kind: str, account: str, region: str, name: str) -> None:
        """Forget one; a namespace's or cluster's data goes with it."""
        with self.mutex:
            document = self.kinds[kind].pop(_key(account, region, name))
            self.save()
            if kind != "workgroups":
                warehouse = self._warehouses.pop(document["warehouse"], None)
                if warehouse is not None:
                    warehouse.close()
                shutil.rmtree(self.state / document["warehouse"], ignore_errors=True)

    def warehouse(self, document: Document, account: str, region: str) -> Warehouse:
        """The databases behind a namespace or cluster."""
        with self.mutex:
            identity = document["warehouse"]
            found = self._warehouses.get(identity)
            if found is None:
                found = Warehouse(
                    document["name"],
                    self.state / identity,
                    region,
                    account,
                    document["admin"],
                    document["database"],
                    document["roles"],
                    document["defaultRole"],
                )
                self._warehouses[identity] = found
            found.roles = document["roles"]
            found.default_role = document["defaultRole"]
            return found

    def close(self) -> None:
        """Close every database."""
        with self.mutex:
            for warehouse in self._warehouses.values():
                warehouse.close()
            self._warehouses.clear()


def _key(account: str, region: str, name: str) -> str:
    return f"{account}|{region}|{name}"


def new_warehouse(name: str, admin: str, database: str, roles: list[str], default: str) -> Document:
    """What a namespace and a cluster have in common."""
    return {
        "warehouse": f"{name}-{uuid.uuid4().hex[:8]}",
        "name": name,
        "admin": admin,
        "database": database,
        "roles": roles,
        "defaultRole": default,
    }


_current: list[Registry] = []


def configure(state: Path, endpoint: str) -> None:
    """Say where data is kept and where the local AWS answers."""
    shutdown()
    _current.append(Registry(state, endpoint))


def _registry() -> Registry:
    if not _current:
        raise RuntimeError("call weir_local.redshift.configure(state, endpoint) first")
    return _current[-1]


def registry() -> Registry:
    """The registry of this process."""
    return _registry()


def shutdown() -> None:
    """Stop running statements and close the files."""
    from weir_local.redshift.statements import cancel_all

    cancel_all()
    while _current:
        _current.pop().close()
