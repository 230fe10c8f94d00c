"""One complete, valid object of each kind, with every field set: where mutations start from."""

from __future__ import annotations

import copy
from typing import Any

ARN = "arn:aws:sns:eu-central-1:123456789012:topic"

REFERENCE = {
    "apiVersion": "weir.dev/v1alpha1",
    "kind": "DataSource",
    "metadata": {"name": "customer-data-api"},
    "spec": {
        "source": {
            "restApi": {
                "endpoint": "https://api.example.com/customers",
                "method": "GET",
                "headers": {"Authorization": "${SECRET:customer_api_key}"},
                "schedule": "rate(1 hour)",
            }
        },
        "schema": {
            "type": "json",
            "mapping": {"customerId": "id", "customerName": "name", "customerEmail": "email"},
        },
        "destination": {
            "bucket": "${BUCKET:processed}",
            "prefix": "customers/",
            "partitionBy": ["year", "month", "day"],
        },
        "redshift": {
            "schema": "customers",
            "table": "customer_data",
            "distkey": "customerId",
            "sortkey": "customerName",
        },
    },
}
"""The reference document's example, as design chapter 1 gives it."""

PLATFORM = {
    "apiVersion": "weir.dev/v1alpha1",
    "kind": "Platform",
    "metadata": {"name": "sample"},
    "spec": {
        "region": "eu-central-1",
        "accountId": "123456789012",
        "endpointUrl": "http://127.0.0.1:4566",
        "assumeRole": {
            "roleArn": "arn:aws:iam::123456789012:role/weir",
            "externalId": "shared",
            "via": [{"roleArn": "arn:aws:iam::123456789012:role/hub", "externalId": "hub"}],
            "sessionTags": {"team": "data"},
            "platformTag": True,
            "sourceIdentity": "weir-prod",
        },
        "buckets": {
            zone: {"name": f"acme-{zone}", "adopt": True, "retentionDays": 30}
            for zone in ("raw", "processed", "curated", "artifacts", "quarantine")
        },
        "kms": {
            "keyArn": "arn:aws:kms:eu-central-1:123456789012:key/abc",
            "adminArns": ["arn:aws:iam::123456789012:role/admin"],
        },
        "network": {
            "vpcId": "vpc-0123456789abcdef0",
            "subnetIds": ["subnet-0123456789abcdef0"],
            "securityGroupIds": ["sg-0123456789abcdef0"],
            "functions": "all",
            "jobs": True,
            "endpointSecurityGroupIds": ["sg-0123456789abcdef1"],
            "endpointPolicy": "platform",
            "endpoints": ["s3"],
        },
        "redshift": {
            "workgroup": "analytics",
            "database": "dev",
            "adminSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:admin",
            "copyRoleArn": "arn:aws:iam::123456789012:role/copy",
        },
        "secrets": {"prefix": "weir/"},
        "notifications": {
            "onFailure": [{"sns": ARN}, {"email": "a@example.com"}],
            "onQuality": [{"sns": ARN}, {"email": "a@example.com"}],
            "onSuccess": [{"sns": ARN}, {"email": "a@example.com"}],
        },
        "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
        "tags": {"cost-centre": "42"},
        "logRetentionDays": 30,
        "driftInterval": "10m",
        "changeEvents": True,
        "mail": {"createRuleSet": True, "rulePosition": "First"},
        "deletionPolicy": "Retain",
        "grants": [
            {
                "namespaces": {"names": ["default"], "matchLabels": {"team": "data"}},
                "secretPrefixes": ["shared/"],
                "bucketPrefixes": ["customers/*"],
                "externalArns": ["arn:aws:s3:::uploads-of-others"],
                "mailRecipients": ["*@example.com", "example.com"],
                "redshift": {"schemas": ["customers"]},
                "egress": {
                    "hosts": ["*.example.com"],
                    "allowPrivate": False,
                    "allowLoopback": False,
                },
                "allow": ["adopt", "scripts", "delete", "move"],
                "adoptNames": ["acme-*"],
            }
        ],
    },
}

SCHEMA_SPEC: dict[str, Any] = {
    "type": "json",
    "discovery": "crawler",
    "mapping": {"customerId": "id"},
    "fields": [
        {
            "name": "customerName",
            "path": "name",
            "type": "string",
            "nullable": False,
            "maxLength": 200,
            "format": "yyyy",
            "timezone": "Europe/Berlin",
            "onMisfit": "null",
            "classification": "personal",
            "description": "As on the invoice.",
        }
    ],
    "keys": ["customerId"],
    "deletion": {"path": "op", "values": ["D"], "mapping": {"customerId": "before.id"}},
    "rules": ['IsComplete "customerId"'],
    "evolution": {"onNewField": "add", "onTypeChange": "widen"},
}

TARGET = {
    "schema": "customers",
    "table": "customer_data",
    "distkey": "customerId",
    "sortkey": "customerName, customerId",
    "mode": "merge",
    "keys": ["customerId"],
    "orderBy": "customerName",
    "deletes": "soft",
    "tombstoneRetention": "30d",
    "minRows": 1,
    "maxShrinkPercent": 50,
}
DESTINATION = {
    "bucket": "${BUCKET:processed}",
    "prefix": "customers/",
    "partitionBy": ["year", "month", "day(orderedAt, Europe/Berlin)"],
    "format": "parquet",
}
ICEBERG = {
    "bucket": "${BUCKET:curated}",
    "prefix": "customers/",
    "partitionBy": ["country", "day(orderedAt)"],
    "format": "iceberg",
    "iceberg": {
        "mode": "merge",
        "keys": ["customerId"],
        "orderBy": "orderedAt",
        "deletes": "soft",
        "minRows": 1,
        "maxShrinkPercent": 50,
        "keepSnapshots": "5d",
    },
}
NOTIFICATIONS = {
    "onFailure": [{"sns": ARN}, {"email": "a@example.com"}],
    "onQuality": [{"sns": ARN}, {"email": "a@example.com"}],
    "onSuccess": [{"sns": ARN}, {"email": "a@example.com"}],
}

PAGINATOR: dict[str, Any] = {
    "type": "cursor",
    "pageParam": "page",
    "basePage": 0,
    "offsetParam": "offset",
    "limitParam": "limit",
    "pageSize": 50,
    "totalPath": "total",
    "cursorPath": "next",
    "cursorParam": "cursor",
    "pageBodyPath": "page",
    "offsetBodyPath": "offset",
    "limitBodyPath": "size",
    "cursorBodyPath": "page.after",
    "hasMorePath": "more",
    "stopAfterEmptyPage": False,
    "maximumPage": 10,
    "maximumOffset": 1000,
}
REST = {
    "endpoint": "https://api.example.com/customers?active=1",
    "method": "POST",
    "headers": {"Authorization": "${SECRET:key#token}"},
    "params": {"q": "x"},
    "body": {"any": {"thing": 1}},
    "schedule": "cron(0 6 * * ? *)",
    "timezone": "Europe/Berlin",
    "dataSelector": "data.items",
    "paginator": PAGINATOR,
    "incremental": {
        "cursorPath": "updatedAt",
        "startParam": "since",
        "endParam": "until",
        "initialValue": "2020-01-01",
        "lag": "2h",
        "step": "7d",
        "format": "date",
        "timezone": "Europe/Berlin",
        "deduplicate": True,
    },
    "auth": {"bearer": {"token": "${SECRET:key}"}},
    "format": {
        "type": "csv",
        "encoding": "utf-8",
        "delimiter": ";",
        "header": False,
        "columns": ["id"],
    },
    "parents": [
        {
            "name": "shops",
            "endpoint": "https://api.example.com/shops",
            "method": "POST",
            "headers": {"X-Key": "${SECRET:key}"},
            "params": {"open": "1"},
            "body": {"any": 1},
            "form": {"a": "b"},
            "dataSelector": "data[?@.open]",
            "paginator": PAGINATOR,
            "include": {"shopId": "id"},
        }
    ],
    "responseActions": [
        {"status": "4xx", "content": "none", "action": "ignore", "message": "no rows"}
    ],
    "limits": {
        "timeout": "30s",
        "maxAttempts": 5,
        "maxResponseBytes": 1_000_000,
        "maxPages": 10,
        "requestsPerSecond": 5,
        "requestsPerMinute": 100,
        "concurrency": 4,
    },
    "allowedHosts": ["cdn.example.com"],
}

TOKEN = {
    "tokenUrl": "https://auth.example.com/token",
    "clientId": "${SECRET:key#id}",
    "clientSecret": "${SECRET:key#secret}",
    "scopes": ["read"],
    "params": {"audience": "a"},
    "clientAuth": "basic",
    "tokenPath": "access_token",
    "expiresPath": "expires_in",
}
AUTHS: dict[str, dict[str, Any]] = {
    "apiKey": {"name": "key", "value": "${SECRET:key}", "location": "query"},
    "httpBasic": {"username": "me", "password": "${SECRET:key}"},
    "oauth2ClientCredentials": TOKEN,
    "oauth2RefreshToken": {
        **TOKEN, "secret": "refresh", "refreshTokenKey": "token", "rotate": True,
    },
    "jwt": {
        "key": "${SECRET:key#pem}",
        "algorithm": "ES256",
        "keyId": "k1",
        "claims": {"iss": "me"},
        "lifetime": "5m",
        "header": "Authorization",
        "scheme": "Bearer",
        "tokenUrl": "https://auth.example.com/token",
        "tokenPath": "access_token",
        "expiresPath": "expires_in",
    },
    "sessionToken": {
        "loginUrl": "https://api.example.com/login",
        "method": "POST",
        "headers": {"X-App": "weir"},
        "params": {"v": "1"},
        "body": {"user": "${SECRET:key#user}"},
        "form": {"user": "${SECRET:key#user}"},
        "tokenPath": "token",
        "header": "X-Session",
        "scheme": "",
        "lifetime": "30m",
    },
    "awsSigV4": {
        "service": "execute-api",
        "region": "eu-central-1",
        "accessKeyId": "${SECRET:key#id}",
        "secretAccessKey": "${SECRET:key#secret}",
        "sessionToken": "${SECRET:key#token}",
    },
}  # fmt: skip


def rest_source(**changes: Any) -> dict[str, Any]:
    """A DataSource of a REST API with these fields, and no others than it needs."""
    found = {"endpoint": "https://api.example.com/rows", "schedule": "rate(1 hour)", **changes}
    return data_source(source={"restApi": found})


def data_source(**spec: Any) -> dict[str, Any]:
    """A DataSource with every common field, and these changes to its spec."""
    body = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataSource",
        "metadata": {"name": "sample"},
        "spec": {
            "platform": "default",
            "source": {"restApi": REST},
            "schema": SCHEMA_SPEC,
            "destination": DESTINATION,
            "redshift": TARGET,
            "pipeline": {"managed": True},
            "notifications": NOTIFICATIONS,
            "network": "vpc",
            "suspend": False,
            "deletionPolicy": "Retain",
        },
    }
    body["spec"].update(spec)  # type: ignore[attr-defined]
    return copy.deepcopy({**body, "spec": {k: v for k, v in body["spec"].items() if v is not None}})  # type: ignore[attr-defined]


FILE_OPTIONS: dict[str, Any] = {
    "format": "csv",
    "compression": "auto",
    "csv": {
        "delimiter": ";",
        "quote": "'",
        "escape": "\\",
        "header": True,
        "columns": ["id"],
        "encoding": "latin-1",
        "skipLines": 1,
        "comment": "#",
        "nullValues": ["", "N/A"],
    },
    "headerRow": 2,
    "maxBytes": 1_048_576,
}
EMAIL = data_source(
    source={
        "email": {
            "bucket": "inbox",
            "prefix": "mails/",
            "recipients": ["in@example.com"],
            "allowedSenders": ["@example.com"],
            "trust": {"spf": True, "dkim": True, "dmarc": True, "spam": True, "virus": True},
            "attachments": {
                **FILE_OPTIONS,
                "patterns": ["*.csv"],
                "inline": True,
                "maxAttachmentBytes": 1000,
                "passwordSecret": "zip_password#key",
                "duplicates": "land",
            },
            "sweep": "rate(1 hour)",
        }
    },
    schema=None,
    schemaRef={"name": "shared"},
)
RECEIVED = data_source(
    source={
        "email": {
            "receive": {
                "recipients": ["in@example.com", "sales.example.com", ".example.org"],
                "requireTls": True,
            }
        }
    }
)
WORKMAIL = data_source(
    source={
        "email": {
            "workmail": {"organizationId": "m-" + "0a" * 16},
            "recipients": ["in@example.com"],
        }
    }
)
FILES = data_source(
    source={
        "files": {
            "bucket": "uploads",
            "prefix": "in/",
            "pattern": "*.csv",
            **FILE_OPTIONS,
            "duplicates": "land",
            "sweep": "rate(1 hour)",
        }
    }
)


def _files(**options: object) -> dict[str, object]:
    return data_source(source={"files": {"bucket": "uploads", **options}})


def _mails(**options: object) -> dict[str, object]:
    return data_source(source={"email": {"bucket": "inbox", "attachments": options}})


WIDTHS = [{"name": "id", "start": 1, "width": 4}]
KINESIS = data_source(
    source={
        "stream": {
            "kinesis": {
                "streamArn": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks",
                "enhancedFanOut": True,
                "startingPosition": "AT_TIMESTAMP",
                "startingTimestamp": "2026-01-31T00:00:00Z",
                "lagAlarm": "1h",
            },
            "format": "avro",
            "registry": {"glue": {"name": "clicks"}},
            "metadata": True,
            "sealEvery": "5m",
            "sealBytes": 1_048_576,
            "batch": {"records": 500, "window": "5s", "retries": 3, "maxAge": "1d"},
        }
    }
)
CONSUMED = data_source(
    source={
        "stream": {
            "kinesis": {
                "streamArn": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks",
                "consumerArn": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks/consumer/a:1",
            },
        }
    }
)
CREATED_STREAM = data_source(
    source={
        "stream": {
            "kinesis": {
                "create": {"mode": "provisioned", "shards": 2, "retentionHours": 48},
                "startingPosition": "LATEST",
            },
            "format": "avro",
            "avroSchema": '{"type": "record", "name": "click", "fields": []}',
        }
    }
)
KAFKA = data_source(
    source={
        "stream": {
            "kafka": {
                "bootstrapServers": ["broker:9092"],
                "topics": ["clicks"],
                "auth": {"scramSha512": "kafka"},
                "caSecret": "kafka-ca",
                "consumerGroup": "weir-clicks",
                "pollers": {"min": 1, "max": 2},
                "startingPosition": "AT_TIMESTAMP",
                "startingTimestamp": "2026-01-31T00:00:00.5+01:00",
                "lagAlarm": 1000,
                "key": {
                    "format": "protobuf",
                    "protobuf": {"descriptors": "CgVjbGljaw==", "message": "a.Key"},
                },
            },
            "format": "protobuf",
            "protobuf": {"descriptors": "CgVjbGljaw==", "message": "shop.v1.Click"},
            "metadata": True,
        }
    }
)
MSK = data_source(
    source={
        "stream": {
            "kafka": {
                "clusterArn": "arn:aws:kafka:eu-central-1:123456789012:cluster/clicks/1",
                "topics": ["clicks"],
                "auth": {"iam": {}},
                "key": {"format": "avro", "avroSchema": '"long"'},
            },
            "format": "json",
            "metadata": True,
            "registry": {
                "confluent": {"url": "https://registry.example.com", "secret": "registry"}
            },
        }
    }
)


def _brokers(way: str) -> dict[str, object]:
    kafka = {"bootstrapServers": ["b:9092"], "topics": ["clicks"], "auth": {way: "kafka"}}
    return data_source(source={"stream": {"kafka": kafka}})


BROKERS = {way: _brokers(way) for way in ("scramSha256", "plain", "mtls")}

DATA_SCHEMA = {
    "apiVersion": "weir.dev/v1alpha1",
    "kind": "DataSchema",
    "metadata": {"name": "sample"},
    "spec": SCHEMA_SPEC,
}

PIPELINE = {
    "apiVersion": "weir.dev/v1alpha1",
    "kind": "Pipeline",
    "metadata": {"name": "sample"},
    "spec": {
        "platform": "default",
        "sources": [{"name": "customer-data-api", "primary": True}, {"name": "countries"}],
        "trigger": {"onArrival": {"minInterval": "5m", "maxWait": "15m", "maxBytes": 1000}},
        "destination": ICEBERG,
        "stages": [
            {
                "name": "tidy",
                "clean": {
                    "trim": True,
                    "nullValues": ["", "N/A"],
                    "deduplicate": {"keys": ["customerId"], "keepLatestBy": "updatedAt"},
                    "pii": [{"column": "customerEmail", "action": "hash"}],
                },
            },
            {
                "name": "enrich",
                "transform": [
                    {"select": ["customerId"]},
                    {"rename": {"a": "b"}},
                    {"cast": {"a": "decimal(10,2)"}},
                    {"derive": {"domain": "split(customerEmail, '@')[1]"}},
                    {"filter": "a > 1"},
                    {"join": {"source": "countries", "keys": ["country"], "how": "left"}},
                    {"union": {"source": "countries"}},
                    {"explode": {"column": "items", "into": "item"}},
                    {"flatten": {"column": "address", "separator": "_"}},
                    {"aggregate": {"groupBy": ["country"], "measures": {"n": "count(*)"}}},
                    {"sql": "select * from input"},
                    {"script": {"inline": "def transform(df, spark): return df"}},
                ],
            },
            {
                "name": "check",
                "validate": {"rules": ['IsComplete "customerId"'], "onFailure": "quarantine"},
            },
            {
                "name": "publish",
                "write": {
                    "zone": "curated",
                    "prefix": "customers/",
                    "partitionBy": ["country"],
                    "mode": "overwritePartitions",
                },
            },
            {"name": "warehouse", "load": {"redshift": TARGET}},
            {
                "name": "export",
                "unload": {
                    "query": "select 1",
                    "to": "${BUCKET:curated}/exports/",
                    "format": "parquet",
                },
            },
        ],
        "resources": {
            "workers": "auto",
            "workerType": "G.1X",
            "min": 2,
            "max": 20,
            "timeout": "2h",
            "execution": "flex",
            "network": "vpc",
        },
        "retry": {"maxAttempts": 3, "interval": "30s"},
        "notifications": NOTIFICATIONS,
        "suspend": False,
    },
}
SCHEDULED = copy.deepcopy(PIPELINE)
SCHEDULED["spec"]["trigger"] = {  # type: ignore[index]
    "schedule": {"expression": "cron(0 6 * * ? *)", "timezone": "Europe/Berlin"}
}

RUN_NOW = {
    "apiVersion": "weir.dev/v1alpha1",
    "kind": "PipelineRun",
    "metadata": {"name": "sample"},
    "spec": {"pipeline": "sample", "now": {"extract": True}, "ttl": "7d"},
}
BACKFILL = copy.deepcopy(RUN_NOW)
BACKFILL["spec"] = {
    "pipeline": "sample",
    "backfill": {
        "from": "2026-01-01",
        "to": "2026-02-01T00:00:00Z",
        "timezone": "Europe/Berlin",
        "step": "1d",
        "concurrency": 2,
        "sources": ["sample"],
        "force": False,
    },
}
REPLAY = copy.deepcopy(RUN_NOW)
REPLAY["spec"] = {"pipeline": "sample", "replay": {"runs": ["20260101-1"]}}

FORM = rest_source(
    method="POST",
    form={"a": "b"},
    incremental={"cursorPath": "id", "startParam": "after", "lagNumber": 10},
    asyncJob={
        "statusUrl": "https://api.example.com/jobs/{job.id}",
        "statusPath": "status",
        "completed": ["done"],
        "failed": ["failed"],
        "interval": "5s",
        "timeout": "1h",
        "downloadUrl": "{job.url}",
    },
)
SIGNED = rest_source(auth={"awsSigV4": AUTHS["awsSigV4"]})
ICEBERG_SOURCE = data_source(destination=ICEBERG)
SAMPLES: dict[str, dict[str, Any]] = {
    "platform": PLATFORM,
    "data source": data_source(),
    "iceberg": ICEBERG_SOURCE,
    "form": FORM,
    **{name: rest_source(auth={name: auth}) for name, auth in AUTHS.items()},
    "email": EMAIL,
    "received mails": RECEIVED,
    "mails of WorkMail": WORKMAIL,
    "mailed trees": _mails(format="json", recordPath="a.b"),
    "mailed widths": _mails(format="fixedWidth", columns=WIDTHS),
    "mailed sheets": _mails(format="xlsx", sheet="Data"),
    "files": FILES,
    "trees": _files(format="xml", recordPath="orders/order"),
    "widths": _files(format="fixedWidth", columns=WIDTHS),
    "sheets": _files(format="xlsx", sheet="Data"),
    "kinesis": KINESIS,
    "kinesis-consumed": CONSUMED,
    "kinesis-created": CREATED_STREAM,
    "kafka": KAFKA,
    **{f"kafka-{way}": sample for way, sample in BROKERS.items()},
    "msk": MSK,
    "schema": DATA_SCHEMA,
    "pipeline": PIPELINE,
    "scheduled pipeline": SCHEDULED,
    "run now": RUN_NOW,
    "backfill": BACKFILL,
    "replay": REPLAY,
}
