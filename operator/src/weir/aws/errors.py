"""What can come of an AWS call, as types.

:func:`classify` turns what botocore raises into one of them by a table: an error code, often with a
part of its message, since services use one code for several things (``InvalidParameterValue`` is both a
wrong timeout and a role that IAM has not spread yet).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from weir.resource import spoken


class AwsError(Exception):
    """An AWS call did not do what it was asked.

    Parameters
    ----------
    message
        For people: what is wrong, where, and what to do.
    service
        botocore's name of the service: ``lambda``.
    operation
        The API operation: ``CreateFunction``.
    resource
        The physical name of what it was about.
    code
        AWS's error code, empty where there was no answer.
    retry_after
        Seconds to wait before another try where the world says so; None leaves it to the caller.
    """

    def __init__(
        self,
        message: str,
        *,
        service: str = "",
        operation: str = "",
        resource: str = "",
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.service = service
        self.operation = operation
        self.resource = resource
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message


class Throttled(AwsError):
    """Too many calls: the same call works later."""


class NotYet(AwsError):
    """Something it needs is not there yet: a role still spreading, a name still taken, an update."""


class NotFound(NotYet):
    """What it names does not exist (yet)."""


class AccessDenied(AwsError):
    """A permission is missing.

    ``action`` and ``target`` name it (``lambda:CreateFunction`` on an ARN or ``*``); ``statement``
    is the IAM statement to add. ``explicit`` says that a policy denies it: adding an Allow is no
    help then.
    """

    def __init__(
        self, message: str, *, action: str, target: str, explicit: bool = False, **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.action = action
        self.target = target
        self.explicit = explicit

    @property
    def statement(self) -> dict[str, Any]:
        """The IAM statement that is missing."""
        return {"Effect": "Allow", "Action": self.action, "Resource": self.target}


class Conflict(AwsError):
    """It belongs to another, or holds what must not be lost."""


class Invalid(AwsError):
    """Wrong as it stands: no retry helps until the spec or the world changes."""


class Transient(AwsError):
    """AWS or the way there failed for the moment."""


class WriteRefused(AwsError):
    """A write while only reading was allowed (``weir plan``): no call was made."""


@dataclass(frozen=True)
class Rule:
    """One row of :data:`RULES`; ``text`` is searched in the message, any case."""

    outcome: type[AwsError]
    code: str
    text: str = ""
    retry_after: float | None = None
    service: str = ""

    def matches(self, service: str, code: str, message: str) -> bool:
        """Whether an error is of this row."""
        return (
            (not self.service or self.service == service)
            and re.fullmatch(self.code, code) is not None
            and re.search(self.text, message, re.IGNORECASE) is not None
        )


TOO_MANY_REQUESTS = 429
"""The HTTP status that says so, whatever the code (RFC 6585)."""

_UNASSUMABLE = (
    r"cannot be assumed|unable to assume|not authorized to assume|is not assumable"
    r"|must allow .* to assume|neither the global service principal .* is authorized"
    r"|trust relationship|could not assume|to be assumed|role .* is invalid or cannot be"
)
"""How services say that IAM has not spread a role, or the role's policy, yet."""

RULES = (
    Rule(
        Throttled,
        r"Throttling|ThrottlingException|ThrottledException|RequestThrottled"
        r"|RequestThrottledException|TooManyRequestsException|TooManyRequests|RequestLimitExceeded"
        r"|BandwidthLimitExceeded|SlowDown|ProvisionedThroughputExceededException|PriorRequestNotComplete"
        r"|TransactionInProgressException|EC2ThrottledException|KMSThrottlingException|RateExceeded"
        r"|KmsThrottled|KMSThrottling|Throttled|ThrottledClientException|RateLimitExceeded.*"
        r"|ActiveStatementsExceededException|ActiveSessionsExceededException|429",
    ),
    # Where the same code is a rate and a quota, the message tells which.
    Rule(
        Throttled,
        r"LimitExceeded|LimitExceededException|LimitExceededFault|ServiceQuotaExceededException"
        r"|OverLimit|ResourceLimitExceeded",
        r"rate (limit )?exceeded|exceed.* rate|too many .*(requests|operations)|simultaneous|throttl",
    ),
    Rule(
        Throttled,
        r"503|ServiceUnavailable|ServiceUnavailableException|InternalError",
        r"slow ?down|reduce your request rate|throttl",
    ),
    # IAM spreads a new role or policy over some seconds.
    Rule(NotYet, r".*", _UNASSUMABLE, 3.0),
    Rule(
        NotYet,
        r"InvalidParameterValueException|InvalidParameterValue",
        r"execution role does not have permissions|provided role|does not have permission to access"
        r"|calls? (failed|denied).*kms|lambda was unable to configure|execution role .*permission",
        5.0,
    ),
    Rule(
        NotYet,
        r"AccessDeniedException",
        r"does not have (required |sufficient )?permissions|execution role",
        3.0,
        "stepfunctions",
    ),
    Rule(NotYet, r"MalformedPolicyDocument.*|InvalidPrincipal.*", r"invalid principal", 5.0),
    Rule(NotYet, r"MalformedPolicy|InvalidPolicy|InvalidParameter.*", r"invalid principal", 5.0),
    Rule(
        NotYet,
        r"DestinationConflict|InvalidArgument",
        r"unable to validate the following destination",
        5.0,
    ),
    # Still being changed.
    Rule(
        NotYet,
        r"ResourceConflictException|ResourceInUseException|ResourceNotReadyException|OperationAborted"
        r"|ConflictException|OperationNotPermittedException|InvalidStateException"
        r"|InvalidParameterValueException",
        r"in progress|is in use|being (created|updated|deleted)|in the following state: pending"
        r"|is currently|not ready|pending|conflicting conditional operation|cannot be performed at this time",
        5.0,
    ),
    Rule(NotYet, r"StateMachineDeleting", "", 15.0),
    Rule(NotYet, r"Crawler(Running|Stopping)Exception", "", 15.0),
    Rule(NotYet, r"OperationAbortedException", "", 2.0, "logs"),
    Rule(
        NotYet,
        r"ValidationException",
        r"multiple times within a fixed interval|being modified",
        60.0,
    ),
    Rule(
        NotYet, r"KMSInvalidStateException|KMSNotFoundException|DependencyTimeoutException", "", 5.0
    ),
    Rule(
        NotYet,
        r"ConcurrentModification|ConcurrentModificationException|ConcurrentAccessException"
        r"|ConcurrentRunsExceededException|ConditionalRequestConflict|OptimisticLockException",
        "",
        1.0,
    ),
    # EC2 (API reference, *Error codes*): what has it is still going, or is still being changed.
    Rule(NotYet, r"DependencyViolation|InvalidGroup\.InUse|IncorrectState", "", 20.0, "ec2"),
    # The answer to an earlier try was lost: the next look finds the rule.
    Rule(NotYet, r"InvalidPermission\.Duplicate", "", 1.0, "ec2"),
    Rule(
        NotYet,
        r"ResourceInUseException",
        r"not ACTIVE|in state (CREATING|UPDATING|DELETING)",
        5.0,
        "kinesis",
    ),
    # Names still taken.
    Rule(NotYet, r"(AWS\.SimpleQueueService\.)?QueueDeletedRecently", "", 60.0),
    Rule(NotYet, r"OperationAborted", "", 60.0, "s3"),
    Rule(
        NotYet,
        r"InvalidRequestException|InvalidParameterException",
        r"scheduled for deletion|marked for deletion|already scheduled",
        30.0,
        "secretsmanager",
    ),
    Rule(NotYet, r"KMSInvalidStateException|DisabledException", "", 30.0),
    # Not there.
    Rule(
        NotFound,
        r"NoSuchEntity|NoSuchEntityException|ResourceNotFoundException|NotFoundException|NotFound|404"
        r"|NoSuchBucket|NoSuchKey|NoSuchBucketPolicy|NoSuchLifecycleConfiguration"
        r"|ServerSideEncryptionConfigurationNotFoundError|NoSuchPublicAccessBlockConfiguration|NoSuchTagSet"
        r"|QueueDoesNotExist|AWS\.SimpleQueueService\.NonExistentQueue|EntityNotFoundException"
        r"|StateMachineDoesNotExist|ResourceNotFound|DashboardNotFoundError|ClusterNotFound"
        r"|ClusterNotFoundFault|TableNotFoundException|Invalid[A-Za-z]+\.NotFound"
        r"|RuleSetDoesNotExist|RuleDoesNotExist",
    ),
    # Permissions.
    Rule(
        AccessDenied,
        r"AccessDenied|AccessDeniedException|UnauthorizedOperation|UnauthorizedException|AuthorizationError"
        r"|AuthorizationErrorException|Forbidden|403|NotAuthorized|KMSAccessDeniedException"
        r"|ForbiddenException|KMS\.AccessDeniedException",
    ),
    Rule(AccessDenied, r".*", r"is not authorized to perform:?"),
    # Taken.
    Rule(
        Conflict,
        r"EntityAlreadyExists|EntityAlreadyExistsException|AlreadyExistsException|ResourceConflictException"
        r"|ResourceAlreadyExistsException|BucketAlreadyExists|BucketAlreadyOwnedByYou|QueueAlreadyExists"
        r"|QueueNameExists|ConflictException|ResourceExistsException|StateMachineAlreadyExists"
        r"|ResourceInUseException|BucketNotEmpty|DeleteConflict|DeleteConflictException"
        r"|IdempotentParameterMismatch.*|TableAlreadyExistsException|InvalidGroup\.Duplicate"
        r"|AlreadyExists|CannotDelete",
    ),
    # For the moment.
    Rule(
        Transient,
        r"InternalError|InternalFailure|InternalServerError|InternalServerException|InternalServiceException"
        r"|ServiceUnavailable|ServiceUnavailableException|ServiceException|ServiceFailure.*|RequestTimeout"
        r"|RequestTimeoutException|OperationTimeoutException|KMSInternalException|500|502|503|504"
        r"|BadGateway|GatewayTimeout|EC2UnexpectedException|ServiceFailureException|InternalServerErrorException",
    ),
    # Credentials come back by themselves (a rotated token, a clock put right).
    Rule(
        Transient,
        r"ExpiredToken|ExpiredTokenException|RequestExpired|InvalidClientTokenId|UnrecognizedClientException"
        r"|InvalidAccessKeyId|SignatureDoesNotMatch|RequestTimeTooSkewed|InvalidSignatureException"
        r"|TokenRefreshRequired",
        "",
        30.0,
    ),
)
"""First match decides. What no row knows is Invalid for a 4xx answer and Transient for a 5xx."""

IAM_PREFIXES = {"stepfunctions": "states"}
"""botocore service -> prefix of its IAM actions, where that differs."""

IAM_ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "s3:DeleteBucketTagging": "s3:PutBucketTagging",
    "lambda:Invoke": "lambda:InvokeFunction",
    "dynamodb:TransactWriteItems": "dynamodb:PutItem",
}
"""API operation -> IAM action, where AWS gave them different names (Service Authorization Reference)."""

_ACTION = re.compile(r"not authorized to perform:? ?\[?([a-z0-9-]+:[A-Za-z0-9]+)")
_TARGET = re.compile(r"on (?:the )?resource:? ?\"?(arn:[^\s\"]+|\*)")
_WHO = re.compile(r"(?:User|Principal):? ?(arn:[^\s]+)")
_BOUNDARY = re.compile(r"no permissions boundary allows", re.IGNORECASE)
_EXPLICIT = re.compile(r"explicit deny(?: in an? ([a-z -]+?) ?policy)?", re.IGNORECASE)


def iam_action(service: str, operation: str) -> str:
    """The IAM action that an API operation needs.

    Parameters
    ----------
    service
        botocore's name of the service.
    operation
        The API operation: ``HeadObject`` needs ``s3:GetObject``.
    """
    action = f"{IAM_PREFIXES.get(service, service)}:{operation}"
    return IAM_ACTIONS.get(action, action)


def outcome_of(service: str, code: str, message: str = "", status: int = 400) -> Rule:
    """The row of the table for an error answer.

    Parameters
    ----------
    service
        botocore's name of the service.
    code, message
        AWS's error code and message.
    status
        HTTP status of the answer.
    """
    for rule in RULES:
        if rule.matches(service, code, message):
            return rule
    if status == TOO_MANY_REQUESTS:
        return RULES[0]
    return Rule(Transient if status >= 500 else Invalid, code)


def classify(error: Exception, *, service: str = "", resource: str = "") -> AwsError:
    """The outcome that an exception of botocore stands for.

    Parameters
    ----------
    error
        ``ClientError`` or ``BotoCoreError``. An :class:`AwsError` comes back as it is.
    service
        botocore's name of the service.
    resource
        The physical name of what the call was about.
    """
    if isinstance(error, AwsError):
        return error
    if isinstance(error, ClientError):
        return _from_answer(error, service, resource)
    where = f"{service}, {resource}" if resource else service
    if isinstance(error, ParamValidationError):
        return Invalid(
            f"{where}: AWS's service model refuses the request: {error}",
            service=service,
            resource=resource,
            code="ParamValidation",
        )
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return Transient(
            f"{where}: no AWS credentials: {error}. Give the operator's ServiceAccount a role "
            "(EKS Pod Identity or IRSA), or set AWS_PROFILE for the command line.",
            service=service,
            resource=resource,
            code=type(error).__name__,
            retry_after=30.0,
        )
    if isinstance(error, (BotoConnectionError, HTTPClientError, BotoCoreError)):
        return Transient(
            f"{where}: AWS did not answer: {error}",
            service=service,
            resource=resource,
            code=type(error).__name__,
        )
    raise TypeError(f"not an error of botocore: {error!r}")


def _from_answer(error: ClientError, service: str, resource: str) -> AwsError:
    body: Mapping[str, Any] = error.response.get("Error", {})
    meta: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    code, text = str(body.get("Code", "")), str(body.get("Message", ""))
    operation = str(error.operation_name)
    rule = outcome_of(service, code, text, int(meta.get("HTTPStatusCode", 400)))
    context: dict[str, Any] = {
        "service": service,
        "operation": operation,
        "resource": resource,
        "code": code,
        "retry_after": _retry_after(meta, error.response) or rule.retry_after,
    }
    if rule.outcome is AccessDenied:
        return _denied(text, resource, context)
    about = f" {spoken(resource)}" if resource else ""
    said = f"{code}: {text}" if text else code
    return rule.outcome(f"{service} {operation}{about}: {said}", **context)


def _retry_after(meta: Mapping[str, Any], answer: Mapping[str, Any]) -> float | None:
    """Seconds that the answer asks to wait: in its header, or as Lambda says it in its body."""
    told = (meta.get("HTTPHeaders", {}).get("retry-after"), answer.get("retryAfterSeconds"))
    return next((float(value) for value in map(str, told) if value.isdigit()), None)


def _denied(text: str, resource: str, context: dict[str, Any]) -> AccessDenied:
    action_found, target_found = _ACTION.search(text), _TARGET.search(text)
    action = (
        action_found.group(1)
        if action_found
        else iam_action(context["service"], context["operation"])
    )
    target = (
        target_found.group(1).rstrip(".,")
        if target_found
        else resource
        if resource.startswith("arn:")
        else "*"
    )
    who = _WHO.search(text)
    caller = who.group(1) if who else "the operator's role"
    explicit = _EXPLICIT.search(text)
    denied = AccessDenied(
        "", action=action, target=target, explicit=explicit is not None, **context
    )
    statement = json.dumps(denied.statement)
    if explicit:
        place = (explicit.group(1) or "").strip()
        advice = f"a policy{f' ({place})' if place else ''} denies it explicitly: lift that Deny"
    elif _BOUNDARY.search(text):
        advice = f"its permissions boundary lacks this statement: {statement}"
    else:
        advice = f"add this statement to its policy: {statement}"
    denied.message = f"{caller} may not {action} on {target}: {advice}"
    denied.args = (denied.message,)
    return denied
