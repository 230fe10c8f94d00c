"""Which outcome an answer of AWS stands for, by the table of :mod:`weir.aws.errors`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from weir.aws.errors import (
    AccessDenied,
    AwsError,
    Conflict,
    Invalid,
    NotFound,
    NotYet,
    Throttled,
    Transient,
    classify,
)


def answer(
    code: str, message: str = "", operation: str = "Call", status: int = 400, **headers: str
) -> ClientError:
    """What botocore raises for an error answer."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(response, operation)


@pytest.mark.parametrize(
    "code",
    [
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ProvisionedThroughputExceededException",
        "BandwidthLimitExceeded",
        "ActiveStatementsExceededException",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
        "TransactionInProgressException",
        "KmsThrottled",
        "KMSThrottling",
        "429",
    ],
)
def test_every_spelling_of_throttling_is_throttled(code: str) -> None:
    error = classify(answer(code, "Rate exceeded"), service="glue", resource="job")
    assert type(error) is Throttled
    assert (error.service, error.operation, error.resource) == ("glue", "Call", "job")


TABLE = [
    # A role that IAM has not spread yet, in each service's words.
    ("lambda", "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.", NotYet, 3),
    ("lambda", "InvalidParameterValueException", "The provided execution role does not have permissions to call CreateNetworkInterface on EC2", NotYet, 5),
    ("lambda", "InvalidParameterValueException", "The function execution role does not have permissions to call ReceiveMessage on SQS", NotYet, 5),
    ("stepfunctions", "AccessDeniedException", "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the provided role.", NotYet, 3),
    ("stepfunctions", "AccessDeniedException", "The state machine IAM Role is not authorized to access the Log Destination: does not have required permissions", NotYet, 3),
    ("scheduler", "ValidationException", "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.", NotYet, 3),
    ("glue", "InvalidInputException", "Service is unable to assume provided role. Please verify role's TrustPolicy", NotYet, 3),
    ("kms", "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.", NotYet, 5),
    ("s3", "MalformedPolicy", "Invalid principal in policy", NotYet, 5),
    # Still changing.
    ("lambda", "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: x", NotYet, 5),
    ("lambda", "ResourceInUseException", "Cannot update the event source mapping because it is in use.", NotYet, 5),
    ("dynamodb", "ResourceInUseException", "Attempt to change a resource which is still in use: Table is being updated: t", NotYet, 5),
    ("stepfunctions", "StateMachineDeleting", "is being deleted", NotYet, 15),
    ("logs", "OperationAbortedException", "", NotYet, 2),
    ("iam", "ConcurrentModification", "", NotYet, 1),
    ("dynamodb", "ValidationException", "Time to live has been modified multiple times within a fixed interval", NotYet, 60),
    # Names still taken.
    ("sqs", "AWS.SimpleQueueService.QueueDeletedRecently", "You must wait 60 seconds", NotYet, 60),
    ("sqs", "QueueDeletedRecently", "", NotYet, 60),
    ("s3", "OperationAborted", "A conflicting conditional operation is currently in progress against this resource", NotYet, 5),
    ("secretsmanager", "InvalidRequestException", "a secret with this name is already scheduled for deletion.", NotYet, 30),
    # Taken.
    ("lambda", "ResourceConflictException", "Function already exist: x", Conflict, None),
    ("iam", "EntityAlreadyExists", "Role with name x already exists.", Conflict, None),
    ("s3", "BucketAlreadyExists", "", Conflict, None),
    ("s3", "BucketNotEmpty", "The bucket you tried to delete is not empty", Conflict, None),
    ("dynamodb", "ResourceInUseException", "Table already exists: t", Conflict, None),
    ("scheduler", "ConflictException", "Schedule x already exists.", Conflict, None),
    # Not there.
    ("iam", "NoSuchEntity", "", NotFound, None),
    ("s3", "404", "Not Found", NotFound, None),
    ("sqs", "AWS.SimpleQueueService.NonExistentQueue", "", NotFound, None),
    ("glue", "EntityNotFoundException", "", NotFound, None),
    # For the moment.
    ("s3", "InternalError", "", Transient, None),
    ("dynamodb", "InternalServerError", "", Transient, None),
    ("sts", "ExpiredToken", "", Transient, 30),
    # Wrong.
    ("lambda", "InvalidParameterValueException", "1 validation error: timeout must be at most 900", Invalid, None),
    ("events", "InvalidEventPatternException", "Event pattern is not valid", Invalid, None),
    ("iam", "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000", Invalid, None),
]  # fmt: skip


@pytest.mark.parametrize(("service", "code", "message", "outcome", "after"), TABLE)
def test_an_answer_has_its_outcome(
    service: str, code: str, message: str, outcome: type[AwsError], after: float | None
) -> None:
    error = classify(answer(code, message, "Create"), service=service, resource="x")
    assert type(error) is outcome
    assert error.retry_after == after
    assert error.code == code


def test_an_unknown_server_error_is_transient_and_an_unknown_client_error_is_invalid() -> None:
    assert type(classify(answer("Odd", status=500))) is Transient
    assert type(classify(answer("Odd", status=400))) is Invalid


@pytest.mark.parametrize(
    ("service", "code", "message", "status", "outcome"),
    [
        ("iam", "LimitExceeded", "Rate exceeded", 409, Throttled),
        ("iam", "LimitExceeded", "Cannot exceed quota for PolicySize: 6144", 409, Invalid),
        ("logs", "LimitExceededException", "Rate exceeded for DescribeLogGroups", 400, Throttled),
        ("logs", "LimitExceededException", "Resource limit exceeded.", 400, Invalid),
        ("cloudwatch", "LimitExceeded", "Rate limit exceeded", 400, Throttled),
        ("dynamodb", "LimitExceededException", "Only 10 tables can be created, updated, or deleted simultaneously", 400, Throttled),
        ("s3", "503", "Slow Down", 503, Throttled),
        ("s3", "ServiceUnavailable", "Please reduce your request rate.", 503, Throttled),
        ("s3", "ServiceUnavailable", "Service is not available", 503, Transient),
        ("scheduler", "NobodyKnows", "", 429, Throttled),
    ],
)  # fmt: skip
def test_a_rate_is_told_from_a_quota(
    service: str, code: str, message: str, status: int, outcome: type[AwsError]
) -> None:
    error = classify(answer(code, message, status=status), service=service)
    assert type(error) is outcome


def test_lambda_says_in_its_body_when_to_come_again() -> None:
    error = answer("TooManyRequestsException", "Rate Exceeded.", status=429)
    told: Any = error.response
    told["retryAfterSeconds"] = "4"
    assert classify(error, service="lambda").retry_after == 4


def test_a_retry_after_header_wins() -> None:
    error = classify(answer("ThrottlingException", **{"retry-after": "17"}))
    assert error.retry_after == 17


def test_access_denied_names_the_statement_to_add() -> None:
    text = (
        "User: arn:aws:sts::111122223333:assumed-role/weir/op is not authorized to perform: "
        "lambda:CreateFunction on resource: arn:aws:lambda:eu-central-1:111122223333:function:weir-a "
        "because no identity-based policy allows the lambda:CreateFunction action"
    )
    error = classify(answer("AccessDeniedException", text, "CreateFunction", 403), service="lambda")
    assert isinstance(error, AccessDenied)
    assert error.statement == {
        "Effect": "Allow",
        "Action": "lambda:CreateFunction",
        "Resource": "arn:aws:lambda:eu-central-1:111122223333:function:weir-a",
    }
    assert json.dumps(error.statement) in str(error)
    assert "arn:aws:sts::111122223333:assumed-role/weir/op" in str(error)
    assert not error.explicit


@pytest.mark.parametrize(
    ("service", "operation", "action"),
    [
        ("s3", "HeadObject", "s3:GetObject"),
        ("s3", "PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
        ("stepfunctions", "CreateStateMachine", "states:CreateStateMachine"),
        ("sqs", "CreateQueue", "sqs:CreateQueue"),
    ],
)
def test_access_denied_without_details_names_the_action_all_the_same(
    service: str, operation: str, action: str
) -> None:
    error = classify(answer("AccessDenied", "Access Denied", operation, 403), service=service)
    assert isinstance(error, AccessDenied)
    assert error.action == action


def test_an_explicit_deny_is_not_answered_with_an_allow() -> None:
    text = (
        "User: arn:aws:iam::1:user/op is not authorized to perform: iam:CreateRole on resource: "
        "arn:aws:iam::1:role/x with an explicit deny in a service control policy"
    )
    error = classify(answer("AccessDenied", text, "CreateRole", 403), service="iam")
    assert isinstance(error, AccessDenied)
    assert error.explicit
    assert "lift that Deny" in str(error)
    assert "add this statement" not in str(error)


def test_a_boundary_that_lacks_an_action_is_named() -> None:
    text = (
        "User: arn:aws:iam::1:user/op is not authorized to perform: iam:CreateRole on resource: "
        "arn:aws:iam::1:role/x because no permissions boundary allows the iam:CreateRole action"
    )
    assert "boundary lacks" in str(classify(answer("AccessDenied", text, "CreateRole", 403)))


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://x"),
        ConnectTimeoutError(endpoint_url="http://x"),
        ReadTimeoutError(endpoint_url="http://x"),
        NoCredentialsError(),
    ],
)
def test_no_answer_is_transient(error: Exception) -> None:
    assert type(classify(error, service="sqs", resource="q")) is Transient


def test_what_the_service_model_refuses_is_invalid() -> None:
    error = classify(ParamValidationError(report="Timeout: wrong type"), service="lambda")
    assert type(error) is Invalid
    assert "Timeout: wrong type" in str(error)


def test_what_is_no_error_of_botocore_is_not_swallowed() -> None:
    with pytest.raises(TypeError):
        classify(KeyError("x"))
