"""The SQL of one load, from its plan: pure text, one transaction.

The statements run as one BatchExecuteStatement, which is one transaction. They rely on these
properties of Redshift (Amazon Redshift Database Developer Guide): COPY of Parquet maps columns by
position (*COPY from columnar data formats*); MERGE takes a table as its source, updates without a
further condition and fails where two source rows match one target row (*MERGE*); TRUNCATE commits
(*TRUNCATE*), and is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from weir_contract.codec import ContractError
from weir_contract.compile import SYSTEM_COLUMNS, literal, quoted, redshift_type, table_ddl
from weir_contract.ledger import ledger_name
from weir_contract.pipelines import Load
from weir_contract.rows import MAX_VARCHAR_BYTES, ColumnType, Field
from weir_lambdas.redshift_loader import deletions
from weir_lambdas.redshift_loader.fragments import (
    COUNTS,
    FRESH,
    RUN,
    SEQUENCE,
    STAGE,
    count,
    newest_first,
    older,
    same_keys,
    step,
)

MAX_STATEMENT_BYTES = 100_000
"""A limit of the Data API (Amazon Redshift Management Guide, *Using the Amazon Redshift Data API*)."""

RESULT_COLUMNS = (
    "rows_in",
    "deduplicated",
    "inserted",
    "updated",
    "stale",
    "deleted",
    "loaded",
    "fresh",
    "existing",
    "deletions",
)
"""Columns of the last statement's one row: the ledger's counts; ``loaded`` 1 where the ledger has
the load; ``fresh`` and ``existing`` (rows) explain a refusal; ``deletions`` are staged ones."""

STAGING_TYPES = {
    "timestamptz": "TIMESTAMP",
    "json": f"VARCHAR({MAX_VARCHAR_BYTES})",
}
"""Type -> the type in which COPY takes it from Parquet, where that is not the target's."""

CASTS = {
    "timestamptz": "{} AT TIME ZONE 'UTC'",
    "json": "JSON_PARSE({})",
}
"""Type -> how the staged value becomes the target's."""


@dataclass(frozen=True)
class LoadPlan:
    """One load.

    Parameters
    ----------
    fields
        The target's columns without Weir's own, typed, named as the user spells them.
    file_columns
        Names of the files' columns, in the files' order.
    manifest_uri
        The COPY manifest; None where there are deletions only.
    deletions_uri
        The COPY manifest of the deletions' files, which have the same columns; None where there are
        none, or the load does not obey them.
    first_sequence, last_sequence
        Landings that the run took, for the ledger.
    keep_from
        For ``replace``: rows of earlier landings are older pictures and are left out.
    copy_role_arn
        Role that COPY reads with; None means the warehouse's default role.
    new_mark
        Whether the target is there and lacks the column that marks deleted rows.
    """

    run: str
    pipeline: str
    load: Load
    fields: tuple[Field, ...]
    file_columns: tuple[str, ...]
    manifest_uri: str | None
    first_sequence: int = 0
    last_sequence: int = 0
    keep_from: int = 0
    copy_role_arn: str | None = None
    deletions_uri: str | None = None
    new_mark: bool = False

    @property
    def target(self) -> str:
        """``schema.table``, folded, as the ledger knows it."""
        return f"{self.load.schema}.{self.load.table}".lower()

    @property
    def table(self) -> str:
        """The target's name in SQL."""
        return f"{quoted(self.load.schema)}.{quoted(self.load.table)}"

    @property
    def columns(self) -> list[str]:
        """The target's column names in SQL, Weir's own at the end."""
        return [quoted(item.name) for item in self.fields] + [quoted(RUN), quoted(SEQUENCE)]


def load_statements(plan: LoadPlan) -> list[str]:
    """The statements of a load, in order; the last one selects :data:`RESULT_COLUMNS`.

    Raises
    ------
    ContractError
        Keys or columns do not fit the files, or the statements exceed the Data API's limits.
    """
    check(plan)
    statements = [
        f"LOCK TABLE {ledger_name()}",
        table_ddl(plan.load, plan.fields),
        *deletions.tables(plan),
        *_staged(plan, STAGE, plan.manifest_uri),
        *(_staged(plan, deletions.STAGE, plan.deletions_uri) if plan.deletions_uri else ()),
        f'CREATE TEMP TABLE {COUNTS} ("step" VARCHAR(16), "n" BIGINT)',
        count("rows_in", STAGE),
        # Twice is once: where the ledger has this load already, nothing is left to write.
        f"DELETE FROM {STAGE} WHERE EXISTS ({_ledger_row(plan)})",
        *_older_pictures(plan),
        count("current", STAGE),
        _fresh_table(plan),
        _fill_fresh(plan),
        *deletions.newest(plan, _casts(plan), f"NOT EXISTS ({_ledger_row(plan)})"),
        count("kept", FRESH),
        *_stale(plan),
        *deletions.stale(plan),
        count("fresh", FRESH),
        *WRITERS[plan.load.mode](plan),
        _ledger_insert(plan),
        _result(plan),
    ]
    for statement in statements:
        if len(statement.encode()) > MAX_STATEMENT_BYTES:
            raise ContractError(
                f"{plan.target}: {len(plan.fields)} columns make a statement longer than the Data "
                f"API's {MAX_STATEMENT_BYTES} bytes"
            )
    return statements


def check(plan: LoadPlan) -> None:
    """Refuse what the SQL can't do.

    Raises
    ------
    ContractError
        Merge without keys, a key or ``orderBy`` of a type that can't be compared, a file column
        that the target does not know, or deletions in another mode than merge.
    """
    load, types = plan.load, {item.name.lower(): item.type for item in plan.fields}
    if load.mode == "merge" and not load.keys:
        raise ContractError(f"{plan.target}: mode merge needs keys")
    if load.takes_deletions and load.mode != "merge":
        raise ContractError(
            f"{plan.target}: deletes: {load.deletes} needs mode merge with keys, not {load.mode}"
        )
    for name in (*load.keys, *((load.order_by,) if load.order_by else ())):
        if types.get(name.lower(), "string") in ("json", "binary"):
            raise ContractError(f"{plan.target}: {name} can't be compared in Redshift")
    known = {*types, RUN, SEQUENCE}
    for name in plan.file_columns:
        if name.lower() not in known:
            raise ContractError(f"{plan.target}: the files have {name!r}, the target has not")
    missing = known - {name.lower() for name in plan.file_columns}
    if missing:
        raise ContractError(f"{plan.target}: the files lack {', '.join(sorted(missing))}")


def staging_type(item: Field) -> str:
    """The type in which COPY takes a column from Parquet."""
    return STAGING_TYPES.get(ColumnType.parse(item.type or "string").name) or redshift_type(item)


def cast(item: Field) -> str:
    """The staged column as a value of the target's type."""
    template = CASTS.get(ColumnType.parse(item.type or "string").name, "{}")
    return template.format(quoted(item.name))


def copy_statement(plan: LoadPlan, table: str, manifest_uri: str) -> str:
    """COPY of a manifest's files into a staging table."""
    return (
        f"COPY {table} FROM {literal(manifest_uri)}\n"
        f"{iam_role(plan.copy_role_arn)}\nFORMAT AS PARQUET MANIFEST"
    )


def iam_role(arn: str | None) -> str:
    """``IAM_ROLE 'arn'``, or the warehouse's default role."""
    return f"IAM_ROLE {literal(arn)}" if arn else "IAM_ROLE default"


def _staged(plan: LoadPlan, table: str, manifest_uri: str | None) -> list[str]:
    """A staging table, with the manifest's rows where there is one."""
    copied = [copy_statement(plan, table, manifest_uri)] if manifest_uri else []
    return [_staging(plan, table), *copied]


def _casts(plan: LoadPlan) -> dict[str, str]:
    """Column, folded -> the staged value as one of the target's type."""
    return {item.name.lower(): cast(item) for item in plan.fields}


def _staging(plan: LoadPlan, table: str) -> str:
    types = {item.name.lower(): staging_type(item) for item in plan.fields}
    types |= dict(SYSTEM_COLUMNS)
    lines = [f"  {quoted(name)} {types[name.lower()]}" for name in plan.file_columns]
    return f"CREATE TEMP TABLE {table} (\n" + ",\n".join(lines) + "\n)"


def _fresh_table(plan: LoadPlan) -> str:
    lines = [f"  {quoted(item.name)} {redshift_type(item)}" for item in plan.fields]
    lines += [f"  {quoted(name)} {kind}" for name, kind in SYSTEM_COLUMNS]
    return f"CREATE TEMP TABLE {FRESH} (\n" + ",\n".join(lines) + "\n)"


def _fill_fresh(plan: LoadPlan) -> str:
    names = ", ".join(plan.columns)
    values = ", ".join([*(cast(item) for item in plan.fields), quoted(RUN), quoted(SEQUENCE)])
    if not plan.load.keys or plan.load.mode == "append":
        return f"INSERT INTO {FRESH} ({names})\nSELECT {values}\nFROM {STAGE}"
    keys = ", ".join(quoted(key) for key in plan.load.keys)
    rank = f"ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {newest_first(plan.load)})"
    return (
        f"INSERT INTO {FRESH} ({names})\nSELECT {values}\n"
        f'FROM (SELECT {names}, {rank} AS "_weir_rank" FROM {STAGE}) AS ranked\n'
        f'WHERE "_weir_rank" = 1'
    )


def _ledger_row(plan: LoadPlan) -> str:
    return (
        f"SELECT 1 FROM {ledger_name()} WHERE {quoted('run')} = {literal(plan.run)} "
        f"AND {quoted('target')} = {literal(plan.target)}"
    )


def _same_keys(plan: LoadPlan) -> str:
    return same_keys(plan.load, quoted(plan.load.table), FRESH)


def _older_pictures(plan: LoadPlan) -> list[str]:
    if plan.load.mode != "replace" or not plan.keep_from:
        return []
    return [f"DELETE FROM {STAGE} WHERE {quoted(SEQUENCE)} < {plan.keep_from}"]


def _stale(plan: LoadPlan) -> list[str]:
    """Old never overwrites new: rows older than the target's are taken out."""
    target, sequence = quoted(plan.load.table), quoted(SEQUENCE)
    if plan.load.mode == "replace":
        newest = f"SELECT MAX({sequence}) FROM"
        return [f"DELETE FROM {FRESH} WHERE ({newest} {FRESH}) < ({newest} {plan.table})"]
    if plan.load.mode == "append":
        return []
    newer = older(plan.load, FRESH, target)
    return [f"DELETE FROM {FRESH} USING {plan.table}\nWHERE {_same_keys(plan)}\nAND {newer}"]


def _append(plan: LoadPlan) -> list[str]:
    return [count("inserted", FRESH), _insert(plan, f"NOT EXISTS ({_ledger_row(plan)})")]


def _insert(plan: LoadPlan, where: str) -> str:
    names = ", ".join(plan.columns)
    return f"INSERT INTO {plan.table} ({names})\nSELECT {names}\nFROM {FRESH}\nWHERE {where}"


def _merge(plan: LoadPlan) -> list[str]:
    same = _same_keys(plan)
    matched = f" WHERE EXISTS (SELECT 1 FROM {plan.table} WHERE {same})"
    keys = {quoted(key) for key in plan.load.keys}
    sets = ", ".join(f"{name} = {FRESH}.{name}" for name in plan.columns if name not in keys)
    sets += deletions.revived(plan)
    values = ", ".join(f"{FRESH}.{name}" for name in plan.columns)
    return [
        *deletions.before_merge(plan),
        count("updated", FRESH, matched),
        f"INSERT INTO {COUNTS} SELECT 'inserted', f - u FROM "
        f"(SELECT {step('fresh')} AS f, {step('updated')} AS u FROM {COUNTS}) AS c",
        f"MERGE INTO {plan.table} USING {FRESH}\nON {same}\n"
        f"WHEN MATCHED THEN UPDATE SET {sets}\n"
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(plan.columns)}) VALUES ({values})",
        *deletions.after_merge(plan),
    ]


def _replace(plan: LoadPlan) -> list[str]:
    allowed = f"NOT EXISTS ({_ledger_row(plan)}) AND EXISTS ({_guard(plan)})"
    copied = f" WHERE EXISTS ({_guard(plan)})"
    return [
        count("existing", plan.table),
        f"INSERT INTO {COUNTS} SELECT 'deleted', {step('existing')} FROM {COUNTS}"
        f" HAVING {_within(plan)}",
        count("inserted", FRESH, copied),
        f"DELETE FROM {plan.table} WHERE {allowed}",
        _insert(plan, allowed),
    ]


WRITERS = {"append": _append, "merge": _merge, "replace": _replace}
"""Mode -> the statements that count and write."""


def _within(plan: LoadPlan) -> str:
    """Whether a replace stays within its guards, over the counts table."""
    keep = 1 - plan.load.max_shrink
    return (
        f"{step('fresh')} >= {max(1, plan.load.min_rows)} "
        f"AND {step('fresh')} >= {step('existing')} * {keep:.6f}"
    )


def _guard(plan: LoadPlan) -> str:
    return f"SELECT 1 FROM {COUNTS} HAVING {_within(plan)}"


def _ledger_insert(plan: LoadPlan) -> str:
    where = f"NOT EXISTS ({_ledger_row(plan)})"
    if plan.load.mode == "replace":
        # A picture that is older than the target's is no refusal: its rows are stale.
        outdated = f"SELECT 1 FROM {COUNTS} HAVING {step('fresh')} = 0 AND {step('kept')} > 0"
        where += f" AND (EXISTS ({_guard(plan)}) OR EXISTS ({outdated}))"
    names = [
        "run",
        "target",
        "pipeline",
        "first_sequence",
        "last_sequence",
        "rows_in",
        "deduplicated",
        "inserted",
        "updated",
        "stale",
        "deleted",
        "loaded_at",
    ]
    values = [
        literal(plan.run),
        literal(plan.target),
        literal(plan.pipeline),
        str(plan.first_sequence),
        str(plan.last_sequence),
        *(f"c.{name}" for name in names[5:11]),
        "GETDATE()",
    ]
    columns = ", ".join(quoted(name) for name in names)
    return (
        f"INSERT INTO {ledger_name()} ({columns})\nSELECT {', '.join(values)}\n"
        f"FROM ({_counted(plan)}) AS c\nWHERE {where}"
    )


def _counted(plan: LoadPlan) -> str:
    counts = {
        "rows_in": step("rows_in"),
        "deduplicated": f"{step('current')} - {step('kept')} + {step('deletions')} - {step('gone')}",
        "inserted": step("inserted"),
        "updated": step("updated"),
        "stale": f"{step('rows_in')} - {step('current')} + {step('kept')} - {step('fresh')}",
        "deleted": step("deleted"),
        "fresh": step("fresh"),
        "existing": step("existing"),
        "deletions": step("deletions"),
    }
    if plan.deletions_uri:
        # A deletion that changes nothing is stale, as a row is that changes nothing.
        counts["stale"] += f" + {step('gone')} - {step('deleted')}"
    return (
        "SELECT "
        + ", ".join(f"{sql} AS {name}" for name, sql in counts.items())
        + (f" FROM {COUNTS}")
    )


def _result(plan: LoadPlan) -> str:
    ledger = ", ".join(
        f"COALESCE(l.{quoted(name)}, c.{name}) AS {name}" for name in RESULT_COLUMNS[:6]
    )
    return (
        f"SELECT {ledger}, CASE WHEN l.{quoted('run')} IS NULL THEN 0 ELSE 1 END AS loaded, "
        f"c.fresh, c.existing, c.deletions\nFROM ({_counted(plan)}) AS c\n"
        f"LEFT JOIN {ledger_name()} AS l ON l.{quoted('run')} = {literal(plan.run)} "
        f"AND l.{quoted('target')} = {literal(plan.target)}"
    )


def fields_of(
    columns: Sequence[str], types: Sequence[str], contract: Sequence[Field]
) -> tuple[Field, ...]:
    """The target's columns: the files' names and types, with lengths from the contract.

    Parameters
    ----------
    columns, types
        As the job wrote them into its result; Weir's own columns are left out.
    contract
        The source's fields, for what the files do not tell: lengths, nulls, what was widened.
    """
    stated = {item.name.lower(): item for item in contract}
    found = []
    for name, kind in zip(columns, types, strict=False):
        if name.lower() in (RUN, SEQUENCE):
            continue
        item = stated.get(name.lower())
        if item is not None and (item.type or "string") == kind:
            found.append(replace(item, name=name))
        else:
            found.append(Field(name, name, kind))
    return tuple(found)
