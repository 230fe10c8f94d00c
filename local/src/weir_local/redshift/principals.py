"""Users and roles of a warehouse: shared by its databases, kept in one JSON file."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from weir_local.redshift.errors import SqlError


@dataclass
class User:
    """A database user. ``digest`` is empty where the password is disabled; ``federated`` are the
    roles that an IAM identity brings in its tag, beside those granted to it."""

    name: str
    id: int
    superuser: bool = False
    salt: str = ""
    digest: str = field(default="", repr=False)
    roles: list[str] = field(default_factory=list)
    federated: list[str] = field(default_factory=list)


@dataclass
class Principals:
    """Everyone who may own or be granted something.

    Parameters
    ----------
    users, roles
        By name; a role's list names the roles granted to it.
    """

    users: dict[str, User] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Principals:
        """Read the file; nobody if there is none."""
        if not path.exists():
            return cls()
        document = json.loads(path.read_text())
        users = {name: User(**body) for name, body in document["users"].items()}
        return cls(users, document["roles"])

    def save(self, path: Path) -> None:
        """Write the file in one step."""
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(path)

    def copy(self) -> Principals:
        """An independent copy, for a transaction to change."""
        return copy.deepcopy(self)

    def user(self, name: str) -> User:
        """The user of this name.

        Raises
        ------
        SqlError
            There is none.
        """
        if name not in self.users:
            raise SqlError(f'user "{name}" does not exist')
        return self.users[name]

    def create_user(self, name: str, password: str | None, superuser: bool = False) -> User:
        """Add a user; ``password`` None disables it."""
        if name in self.users:
            raise SqlError(f'user "{name}" already exists')
        user = User(name, 100 + len(self.users), superuser)
        self.users[name] = user
        self.set_password(name, password or "")
        return user

    def set_password(self, name: str, password: str) -> None:
        """Give a user a password; an empty one disables it."""
        user = self.user(name)
        user.salt = name
        user.digest = _digest(user.salt, password) if password else ""

    def accepts(self, name: str, password: str) -> bool:
        """Whether this user exists and this is the password."""
        user = self.users.get(name)
        return (
            user is not None and bool(user.digest) and user.digest == _digest(user.salt, password)
        )

    def create_role(self, name: str) -> None:
        """Add a role."""
        if name in self.roles:
            raise SqlError(f'role "{name}" already exists')
        self.roles[name] = []

    def require(self, kind: str, name: str) -> None:
        """A grantee of this kind has to exist."""
        if kind == "user":
            self.user(name)
        elif kind == "role" and name not in self.roles:
            raise SqlError(f'role "{name}" does not exist')

    def roles_of(self, user: str) -> set[str]:
        """The roles that a user has, directly or through another role."""
        found: set[str] = set()
        known = self.users.get(user)
        todo = [*known.roles, *known.federated] if known else []
        while todo:
            role = todo.pop()
            if role in self.roles and role not in found:
                found.add(role)
                todo += self.roles[role]
        return found


def _digest(salt: str, password: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 1_000).hex()
