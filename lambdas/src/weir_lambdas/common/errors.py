"""What can go wrong, by class: the class names are what Step Functions retries and catches by.

Each message says what is wrong and where; :data:`ACTIONS` says what to do about it.
"""

from __future__ import annotations

from weir_contract import pollers
from weir_lambdas.common.log import REDACTOR

ACTIONS = {
    "SourceUnauthorized": "Check the credential that the source names: it may be wrong, expired or "
    "sent under another header than the API wants; of kafka.auth: {iam: {}} it is the function's role, "
    "which needs kafka-cluster:Connect. A rotated secret is read anew by the next run.",
    "SourceForbidden": "The source knows the caller and refuses: give its account, user or role the "
    "right to read this; of an API, check its IP allow-list too.",
    "SourceNotFound": "Check the endpoint's path and parameters, or the topic's or stream's name: the "
    "source has nothing there that the caller may see.",
    "SourceRateLimited": "Lower requestsPerSecond or run less often; the next run tries again "
    "from the last checkpoint.",
    "SourceUnavailable": "The source failed or could not be reached on every attempt. The next run "
    "tries again from the last checkpoint; if it goes on, ask the source's owner.",
    pollers.REASON: pollers.ADVICE,
    "SourceBadAnswer": "Call the endpoint by hand with the same parameters and compare the answer "
    "with the source's dataSelector and paginator.",
    "SourceTooLarge": "Ask for smaller pages (paginator.pageSize), or raise "
    "limits.maxResponseBytes if such an answer is expected.",
    "NoLongerKept": "Ask for a window that begins later. To have more in future, raise the stream's "
    "retention: it counts for records that are still there.",
    "SecretMissing": "Create the secret (with that key) in AWS Secrets Manager under the "
    "Platform's prefix for the namespace, then run again.",
    "EgressRefused": "Use a public endpoint, or ask the Platform's owner to allow this address or "
    "host in the Platform's grants.",
    "LeaseHeld": "Another run of this source is still at work. Wait for it; its lease ends by "
    "itself if it died.",
    "ConfigInvalid": "Correct the field that the message names and apply the object again.",
    "AccountDoesNotAddUp": "Do not trust this run's output: rows are missing or double. Its "
    "manifests are pending and the next pass repeats them; report it with the run's id if it "
    "comes back.",
    "LoadRefused": "The table was left as it was. If the new number of rows is right, lower "
    "redshift.minRows or raise redshift.maxShrinkPercent and run again.",
    "LoadLost": "The warehouse finished without a ledger row. Run the pipeline again: what was "
    "committed is not loaded twice.",
    "OutOfTime": "The function had no time left. Raise its timeout or ask for smaller pages.",
    "States.Timeout": "The step ran into its timeout. Look at its log; give the job more workers "
    "or the step more time.",
    "States.TaskFailed": "Look at the step's log for the reason.",
    "Glue.EntityNotFoundException": "The Glue job is missing: the operator restores it at its "
    "next drift check.",
    "Lambda.TooManyRequestsException": "The account's Lambda concurrency is used up: raise the "
    "quota or spread the schedules.",
    "RedshiftData.ValidationException": "The warehouse refused the statements: check that it is "
    "available and that the database exists.",
    "ColumnMissing": "Correct the step that the message names, or the schema, and apply it again.",
    "ContractError": "Correct the schema or the stage that the message names and apply it again.",
    "ContractMissing": "State schema.mapping or schema.fields on the DataSource.",
    "ExpressionRefused": "Correct the step that the message names and apply the Pipeline again.",
    "KeyUnreadable": "Put at least 16 random bytes into the secret that the message names.",
    "MisfitFailsRun": "Mend the source or the column's type, or use onMisfit: quarantine.",
    "PiiKeyMissing": "Create the secret pii-key of the namespace, with at least 16 random bytes.",
    "TableConflict": "State the type that the table has, or give the column another name.",
    "TableRefused": "The table was left as it was. If the new number of rows is right, lower "
    "minRows or raise maxShrinkPercent, and run again.",
    "QualityFailed": "Mend the data or the rules, or use onFailure: quarantine. Nothing was loaded.",
    "ScriptRefused": "Ask the Platform's owner to allow scripts, or correct the script.",
    "LoadFailed": "Read the warehouse's message above; STL_LOAD_ERRORS / SYS_LOAD_ERROR_DETAIL "
    "names file and column of a failed COPY. The transaction was rolled back, nothing is half "
    "loaded.",
}
"""Class of an error, or Step Functions' error name -> what a person does about it."""

DEFAULT_ACTION = "Look at the function's log in CloudWatch for this run's id."


def action_for(error: str) -> str:
    """What to do about an error of that class name."""
    return ACTIONS.get(error, DEFAULT_ACTION)


class WeirError(Exception):
    """Something a person can act on.

    Parameters
    ----------
    what
        What is wrong, without a secret and without row content.
    where
        The field, URL or object that it is about.
    spoils
        Whether what the same call read before can't be trusted either: it is not landed then.
    """

    retryable = False
    status: int | None = None
    """HTTP's, where a status is what is wrong."""

    def __init__(self, what: str, where: str = "", spoils: bool = False) -> None:
        # A source may have put what it was told into a key, a redirect or a link.
        self.what, self.where, self.spoils = REDACTOR.text(what), REDACTOR.text(where), spoils
        place = f"{self.where}: " if where else ""
        super().__init__(f"{place}{self.what.rstrip('.')}. {action_for(type(self).__name__)}")


class SourceUnauthorized(WeirError):
    """The source answered 401."""


class SourceForbidden(WeirError):
    """The source answered 403."""


class SourceNotFound(WeirError):
    """The source answered 404 or 410."""


class SourceRateLimited(WeirError):
    """The source answered 429 on every attempt, or asks to wait longer than the function may."""

    retryable = True


class SourceUnavailable(WeirError):
    """The source answered 5xx, or could not be reached, on every attempt."""

    retryable = True


class SourceUnread(WeirError):
    """Lambda's pollers can't read the source."""


class SourceBadAnswer(WeirError):
    """The source answered with what can't be read: HTML, nothing, broken JSON, another shape."""


class NoLongerKept(WeirError):
    """The source has dropped what is asked for."""


class SourceTooLarge(WeirError):
    """One answer exceeds the limit of bytes."""


class SecretMissing(WeirError):
    """A secret, or a key in it, does not exist or can't be read."""


class EgressRefused(WeirError):
    """A request would go where the Platform does not allow."""


class LeaseHeld(WeirError):
    """Another run holds the source's lease."""

    retryable = True


class ConfigInvalid(WeirError):
    """The configuration can't be carried out as it stands."""


class AccountDoesNotAddUp(WeirError):
    """A run's stages do not account for every row."""


class LoadRefused(WeirError):
    """A replace would shrink the table more than its guards allow."""


class LoadLost(WeirError):
    """A load finished but left no ledger row."""

    retryable = True


class OutOfTime(WeirError):
    """The function's deadline is too near to begin."""

    retryable = True
