"""Why a job stops, for people: each says what is wrong, where, and what to do."""

from __future__ import annotations


class JobError(Exception):
    """A reason to stop that a person can act on; its text never holds row content."""


class PlanInvalid(JobError):
    """The plan, the configuration or a manifest can't be read as what it should be."""


class ContractMissing(JobError):
    """A source has neither stated nor inferred columns."""


class MisfitFailsRun(JobError):
    """A value does not fit a column whose contract says ``onMisfit: fail``."""


class ExpressionRefused(JobError):
    """SQL of a stage is not allowed, or does not fit its input's columns."""


class ColumnMissing(JobError):
    """A stage names a column that its input lacks."""


class ScriptRefused(JobError):
    """A script stage in a pipeline that may not run scripts, or a script that can't be used."""


class DeletionsLost(JobError):
    """A stage through which deletions can't be followed to the load that obeys them."""


class QualityFailed(JobError):
    """A validate stage with ``onFailure: fail`` found rules that do not hold."""


class AccountDoesNotAddUp(JobError):
    """Rows are missing or doubled between two stages: nothing is committed."""


class OutputRefused(JobError):
    """A destination can't be written: no table, no column to partition by."""


class TableConflict(JobError):
    """An Iceberg table has a shape that it can't change into the rows' one."""


class TableRefused(JobError):
    """A replace of an Iceberg table is against its guards."""
