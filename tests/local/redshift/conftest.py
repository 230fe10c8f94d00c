"""An engine without a server: databases on disk, objects in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bucket_store import Objects
from weir_local.redshift.database import Database, Directory
from weir_local.redshift.errors import SqlError
from weir_local.redshift.execute import Session
from weir_local.redshift.principals import Principals

ROLE = "arn:aws:iam::000000000000:role/copy"


class Engine:
    """One database with an admin; sessions are opened by user name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.objects = Objects()
        self.directory = Directory(path / "principals.json")
        if "admin" not in self.directory.principals.users:
            principals = Principals()
            principals.create_user("admin", "Passw0rd!", superuser=True)
            self.directory.replace(principals)
        self.database = Database("dev", path / "dev.duckdb", "admin")

    def session(self, user: str = "admin") -> Session:
        def assume(role: str) -> Objects:
            if role != ROLE:
                raise SqlError(f"not authorized to assume IAM Role {role}")
            return self.objects

        return Session(self.database, self.directory, user, assume)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = Engine(tmp_path)
    yield found
    found.database.close()


@pytest.fixture
def admin(engine: Engine) -> Iterator[Session]:
    session = engine.session()
    yield session
    session.close()


@pytest.fixture
def sql(admin: Session) -> Callable[..., list[tuple[Any, ...]]]:
    def run(text: str, session: Session | None = None) -> list[tuple[Any, ...]]:
        return (session or admin).run(text).rows

    return run
