"""What is encrypted with a customer's key needs the key: AWS services check it for the caller.

Amazon S3 User Guide, "Using server-side encryption with AWS KMS keys"; Secrets Manager User
Guide, "Secret encryption and decryption"; SQS Developer Guide, "Key management"; SNS Developer
Guide, "Managing encryption keys"; DynamoDB Developer Guide, "DynamoDB usage notes (KMS)";
CloudWatch Logs User Guide, "Encrypt log data using AWS KMS".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from weir_local.aws.access import denial, refuse, service_denial
from weir_local.aws.conditions import key_tags
from weir_local.aws.wire import Handler, Reply, Request, guard_service, json_error

S3_KEY_HEADER = "x-amz-server-side-encryption-aws-kms-key-id"

DYNAMODB_DATA = frozenset(
    {
        "GetItem",
        "BatchGetItem",
        "Query",
        "Scan",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "BatchWriteItem",
        "TransactGetItems",
        "TransactWriteItems",
    }
)

SECRET_ACTIONS = {
    "GetSecretValue": ("kms:Decrypt",),
    "CreateSecret": ("kms:GenerateDataKey", "kms:Decrypt"),
    "PutSecretValue": ("kms:GenerateDataKey", "kms:Decrypt"),
    "UpdateSecret": ("kms:GenerateDataKey", "kms:Decrypt"),
}
QUEUE_ACTIONS = {
    "SendMessage": ("kms:GenerateDataKey", "kms:Decrypt"),
    "SendMessageBatch": ("kms:GenerateDataKey", "kms:Decrypt"),
    "ReceiveMessage": ("kms:Decrypt",),
}
TOPIC_ACTIONS = {
    "Publish": ("kms:GenerateDataKey", "kms:Decrypt"),
    "PublishBatch": ("kms:GenerateDataKey", "kms:Decrypt"),
}


def key_arn(key_id: str | None) -> str | None:
    """The ARN of a customer's key by id, ARN or alias; None for AWS's own keys and none at all."""
    from ministack.services import kms

    record = kms._resolve_key(key_id or "")
    return str(record["Arn"]) if record else None


def refusal(
    request: Request, key_id: str | None, actions: tuple[str, ...], encrypted: str = ""
) -> Reply | None:
    """Refuse a caller that may not use a key.

    :param key_id: the key by id, ARN or alias
    :param actions: what the service does with it for the caller
    :param encrypted: the encryption context's ARN, as ``aws:s3:arn`` for S3
    """
    key = key_arn(key_id)
    if key is None:
        return None
    context = {
        "kms:viaservice": f"{request.service}.{request.region}.amazonaws.com",
        "kms:calleraccount": request.account,
        **key_tags(key_id),
    }
    if encrypted:
        context["kms:encryptioncontext:aws:s3:arn"] = encrypted
    for action in actions:
        message = denial(request.access_key, action, key, request.region, context)
        if message:
            return refuse(request, message)
    return None


def bucket_and_key(path: str) -> tuple[str, str]:
    """The bucket and the object key of a path-style S3 request."""
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key


def context_arn(bucket: str, key: str) -> str:
    """``aws:s3:arn`` of the encryption context: the bucket's where bucket keys are on.

    Amazon S3 User Guide, "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys".
    """
    from ministack.services import s3

    raw = s3._bucket_encryption.get(bucket) or b""
    text = raw.decode() if isinstance(raw, bytes) else str(raw)
    if "<BucketKeyEnabled>true<" in text:
        return f"arn:aws:s3:::{bucket}"
    return f"arn:aws:s3:::{bucket}/{key}"


def s3_guard(request: Request) -> Reply | None:
    """PutObject, CopyObject and multipart uploads need kms:GenerateDataKey on the object's key."""
    from ministack.services import s3

    bucket, key = bucket_and_key(request.path)
    if not key or request.method not in ("PUT", "POST"):
        return None
    starts_upload = request.method == "POST" and "uploads" in request.query
    if request.method == "POST" and not starts_upload:
        return None
    if set(request.query) - {"uploads", "partNumber", "uploadId", "x-id"}:
        return None
    if "uploadId" in request.query:
        upload = s3._multipart_uploads.get(request.query["uploadId"][0]) or {}
        written = s3._stored_sse_headers(upload)
    else:
        written, _ = s3._resolve_sse_write_headers(request.headers, bucket)
    arn = context_arn(bucket, key)
    actions = ("kms:GenerateDataKey", "kms:Decrypt") if request.query else ("kms:GenerateDataKey",)
    refused = refusal(request, (written or {}).get(S3_KEY_HEADER), actions, arn)
    source = request.headers.get("x-amz-copy-source")
    if refused or not source:
        return refused
    from_bucket, from_key = bucket_and_key(source.split("?")[0])
    stored = (s3._buckets.get(from_bucket) or {}).get("objects", {}).get(from_key) or {}
    key_id = s3._stored_sse_headers(stored).get(S3_KEY_HEADER)
    return refusal(request, key_id, ("kms:Decrypt",), context_arn(from_bucket, from_key))


def guard_s3_reads() -> None:
    """GetObject needs kms:Decrypt on the key that the reply names."""
    from ministack import app

    inner: Handler = app.SERVICE_HANDLERS["s3"]

    async def guarded(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        reply = await inner(method, path, headers, body, query)
        if method != "GET" or reply[0] not in (200, 206):
            return reply
        names = {name.lower(): value for name, value in reply[1].items()}
        request = Request("s3", method, path, headers, body, query)
        arn = context_arn(*bucket_and_key(path))
        return refusal(request, names.get(S3_KEY_HEADER), ("kms:Decrypt",), arn) or reply

    app.SERVICE_HANDLERS["s3"] = guarded


def secrets_guard(request: Request) -> Reply | None:
    """Secrets Manager encrypts and decrypts values for the caller."""
    from ministack.services import secretsmanager

    actions = SECRET_ACTIONS.get(request.operation)
    if actions is None:
        return None
    key = request.json.get("KmsKeyId")
    if not key and request.json.get("SecretId"):
        found: Any = secretsmanager._resolve(request.json["SecretId"])
        secret = found[1] if isinstance(found, tuple) else found
        key = (secret or {}).get("KmsKeyId")
    return refusal(request, key, actions)


def sqs_guard(request: Request) -> Reply | None:
    """SQS encrypts what is sent and decrypts what is received."""
    from ministack.services import sqs

    actions = QUEUE_ACTIONS.get(request.operation)
    url = request.json.get("QueueUrl") or request.form.get("QueueUrl", "")
    if actions is None or not url:
        return None
    name = url.rstrip("/").rsplit("/", 1)[-1]
    queue = sqs._queue_by_arn(f"arn:aws:sqs:{request.region}:{request.account}:{name}")
    return refusal(request, ((queue or {}).get("attributes") or {}).get("KmsMasterKeyId"), actions)


def sns_guard(request: Request) -> Reply | None:
    """SNS encrypts what is published."""
    from ministack.services import sns

    actions = TOPIC_ACTIONS.get(request.operation)
    arn = request.form.get("TopicArn") or request.json.get("TopicArn", "")
    if actions is None or not arn:
        return None
    topic = sns._topic_by_arn_any_scope(arn) or {}
    return refusal(request, (topic.get("attributes") or {}).get("KmsMasterKeyId"), actions)


def tables(body: dict[str, Any]) -> list[str]:
    """The tables that a DynamoDB data call names."""
    names = [body["TableName"]] if body.get("TableName") else []
    if isinstance(body.get("RequestItems"), dict):
        names += list(body["RequestItems"])
    for item in body.get("TransactItems") or []:
        names += [part["TableName"] for part in item.values() if part.get("TableName")]
    return names


def dynamodb_guard(request: Request) -> Reply | None:
    """DynamoDB reads and writes an encrypted table with its key for the caller."""
    from ministack.services import dynamodb

    if request.operation == "CreateTable":
        given = request.json.get("SSESpecification") or {}
        actions = ("kms:DescribeKey", "kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey")
        return refusal(request, given.get("KMSMasterKeyId"), actions)
    if request.operation not in DYNAMODB_DATA:
        return None
    for name in tables(request.json):
        table = dynamodb._tables.get(name.rsplit("/", 1)[-1]) or {}
        key = (table.get("SSEDescription") or {}).get("KMSMasterKeyArn")
        refused = refusal(request, key, ("kms:Decrypt",))
        if refused:
            return refused
    return None


def logs_guard(request: Request) -> Reply | None:
    """CloudWatch Logs uses the key itself, so the key's policy must let it."""
    key = request.json.get("kmsKeyId")
    if not key or request.operation not in ("CreateLogGroup", "AssociateKmsKey"):
        return None
    group = request.json.get("logGroupName", "")
    arn = f"arn:aws:logs:{request.region}:{request.account}:log-group:{group}"
    service = f"logs.{request.region}.amazonaws.com"
    found = key_arn(key)
    refused = found is None or any(
        service_denial(
            service,
            action,
            found,
            request.region,
            request.account,
            arn,
            {"kms:encryptioncontext:aws:logs:arn": arn},
        )
        for action in ("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey")
    )
    if not refused:
        return None
    return json_error(
        "InvalidParameterException",
        f"The specified KMS Key Id could not be found or is not allowed to be used with {arn}: "
        f"the policy of {key} must let {service} use it.",
    )


def group_keys(request: Request) -> Reply | None:
    """Serve AssociateKmsKey and DisassociateKmsKey of log groups, which MiniStack lacks."""
    from ministack.services import cloudwatch_logs

    if request.operation not in ("AssociateKmsKey", "DisassociateKmsKey"):
        return None
    name = request.json.get("logGroupName", "")
    if name not in cloudwatch_logs._log_groups:
        return json_error(
            "ResourceNotFoundException", f"The specified log group does not exist: {name}"
        )
    associated = request.operation == "AssociateKmsKey"
    key = request.json.get("kmsKeyId") if associated else None
    cloudwatch_logs._log_groups[name]["kmsKeyId"] = key
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, b"{}"


def install() -> None:
    """Put the guards before the services."""
    guard_s3_reads()
    guard_service("s3", s3_guard)
    guard_service("secretsmanager", secrets_guard)
    guard_service("sqs", sqs_guard)
    guard_service("sns", sns_guard)
    guard_service("dynamodb", dynamodb_guard)
    guard_service("logs", group_keys)
    guard_service("logs", logs_guard)
