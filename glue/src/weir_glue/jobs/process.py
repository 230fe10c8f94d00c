"""The Glue job's script: ``process.py --WEIR_PLAN s3://..``, everything else of Glue's is ignored.

It needs no ``awsglue``: it runs wherever Spark can read ``s3://`` and boto3 finds credentials.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence

from weir_contract.codec import ContractError
from weir_glue.common.errors import JobError, PlanInvalid
from weir_glue.common.plan import read_work
from weir_glue.common.session import session
from weir_glue.jobs.check import check_stages
from weir_glue.jobs.run import Run


def plan_uri(arguments: Sequence[str]) -> str:
    """The value of ``--WEIR_PLAN``, given as ``--WEIR_PLAN x`` or ``--WEIR_PLAN=x``.

    Raises
    ------
    PlanInvalid
        It is missing.
    """
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--WEIR_PLAN":
            if equals:
                return value
            if index + 1 < len(arguments):
                return arguments[index + 1]
    raise PlanInvalid("the argument --WEIR_PLAN s3://.. is missing")


_CAUSE = "Caused by: "


def main(arguments: Sequence[str]) -> str | None:
    """Run one plan.

    Returns
    -------
    str or None
        None; or, where the run can't go on, the error's class and message in one line.
    """
    try:
        work = read_work(plan_uri(arguments))
        check_stages(work.config)
        spark = session(f"weir {work.config.id}")
        try:
            result = Run(spark, work).execute()
        finally:
            spark.stop()
    except (JobError, ContractError) as error:
        return _told(error)
    except Exception as error:  # noqa: BLE001 - the job's edge: whatever it was must be named
        traceback.print_exc()
        return _told(error)
    summary = {"run": result.run, "rows": result.rows, "files": len(result.files)}
    sys.stdout.write(json.dumps(summary) + "\n")
    return None


def _told(error: Exception) -> str:
    """The error in one line: of a Java exception, its root cause rather than where Python saw it."""
    lines = str(error).strip().splitlines() or ["no message"]
    causes = [line for line in lines if line.startswith(_CAUSE)]
    if causes:
        return causes[-1].removeprefix(_CAUSE)
    return f"{type(error).__name__}: {lines[0]}"


if __name__ == "__main__":
    failure = main(sys.argv[1:])
    if failure:
        # The text is the last line on standard error and the job run's ErrorMessage.
        sys.exit(failure)
