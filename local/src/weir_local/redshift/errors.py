"""What a statement can fail with, in Redshift's words."""

from __future__ import annotations


class SqlError(Exception):
    """A statement that Redshift would refuse.

    Parameters
    ----------
    message
        Redshift's text, without its ``ERROR:`` prefix.
    detail
        The ``Detail:`` line, if Redshift gives one.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        text = f"ERROR: {self.message}"
        return f"{text}\n  Detail: {self.detail}" if self.detail else text


class Cancelled(Exception):
    """The statement was cancelled before it finished."""


def syntax_error(near: str) -> SqlError:
    """The parser does not understand the statement at this token."""
    return SqlError(f'syntax error at or near "{near}"' if near else "syntax error at end of input")


def no_relation(name: str) -> SqlError:
    """The statement names a table or view that does not exist."""
    return SqlError(f'relation "{name}" does not exist')


def no_schema(name: str) -> SqlError:
    """The statement names a schema that does not exist."""
    return SqlError(f'schema "{name}" does not exist')


def no_column(name: str, relation: str = "") -> SqlError:
    """The statement names a column that does not exist."""
    place = f' of relation "{relation}"' if relation else ""
    return SqlError(f'column "{name}"{place} does not exist')


def denied(kind: str, name: str) -> SqlError:
    """The user lacks a privilege on an object of this kind (schema, relation, database)."""
    return SqlError(f"permission denied for {kind} {name}")


def not_owner(kind: str, name: str) -> SqlError:
    """Only the owner or a superuser may do this."""
    return SqlError(f"must be owner of {kind} {name}")


def serialization(table: str) -> SqlError:
    """Two transactions can't be put in an order: Redshift's error 1023."""
    return SqlError(
        "1023",
        f"Serializable isolation violation on table - {table}, "
        "transactions forming the cycle are not serializable",
    )


def in_transaction_block(command: str) -> SqlError:
    """The command is one of those that Redshift runs only outside a transaction block."""
    return SqlError(f"{command} cannot run inside a transaction block")
