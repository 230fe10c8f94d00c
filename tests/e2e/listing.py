"""What there is on AWS, asked service by service: nothing of the operator's own view of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from e2e.running import Object, Running

PREFIX = "weir-local-"
"""What the name of everything that the operator of cluster ``local`` makes begins with."""


def of_cluster(running: Running) -> Counter[str]:
    """Everything of our cluster that any service lists: ARNs, or names where there are none."""
    listed: Counter[str] = Counter()

    def pages(service: str, operation: str) -> Iterator[Object]:
        return iter(running.aws(service).get_paginator(operation).paginate())

    named: Sequence[tuple[str, str, str, str]] = (
        ("lambda", "list_functions", "Functions", "FunctionArn"),
        ("lambda", "list_event_source_mappings", "EventSourceMappings", "FunctionArn"),
        ("logs", "describe_log_groups", "logGroups", "logGroupName"),
        ("stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn"),
        ("scheduler", "list_schedules", "Schedules", "Arn"),
        ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmArn"),
        ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        ("glue", "get_jobs", "Jobs", "Name"),
        ("glue", "get_databases", "DatabaseList", "Name"),
        ("iam", "list_roles", "Roles", "Arn"),
        ("sns", "list_topics", "Topics", "TopicArn"),
        ("dynamodb", "list_tables", "TableNames", ""),
        ("kms", "list_aliases", "Aliases", "AliasName"),
    )
    for service, operation, items, field in named:
        for page in pages(service, operation):
            listed.update(one[field] if field else one for one in page.get(items, ()))
    listed.update(running.aws("sqs").list_queues().get("QueueUrls", ()))
    listed.update(one["Name"] for one in running.aws("s3").list_buckets()["Buckets"])
    listed.update(one["Arn"] for one in running.aws("events").list_rules()["Rules"])
    spelled = (PREFIX, PREFIX.replace("-", "_"))
    return Counter({one: n for one, n in listed.items() if any(name in one for name in spelled)})


def found(running: Running, names: Collection[str]) -> Counter[str]:
    """Every AWS resource that bears one of the names, as often as AWS lists it."""
    listed: Counter[str] = Counter()

    def pages(service: str, operation: str, **options: str) -> Iterator[Object]:
        return iter(running.aws(service).get_paginator(operation).paginate(**options))

    for page in pages("iam", "list_roles", PathPrefix="/weir/local/"):
        listed.update(role["Arn"] for role in page["Roles"])
    for page in pages("lambda", "list_functions"):
        listed.update(one["FunctionArn"] for one in page["Functions"])
    for page in pages("logs", "describe_log_groups"):
        listed.update(one["arn"].removesuffix(":*") for one in page["logGroups"])
    for page in pages("stepfunctions", "list_state_machines"):
        listed.update(one["stateMachineArn"] for one in page["stateMachines"])
    for page in pages("scheduler", "list_schedules"):
        listed.update(one["Arn"] for one in page["Schedules"])
    for page in pages("cloudwatch", "describe_alarms"):
        listed.update(one["AlarmArn"] for one in page["MetricAlarms"])
    for page in pages("glue", "get_jobs"):
        listed.update(f"glue:job/{one['Name']}" for one in page["Jobs"])
    for page in pages("glue", "get_tables", DatabaseName="weir_local_default"):
        listed.update(f"glue:table/{one['Name']}" for one in page["TableList"])
    bucket = running.bucket("artifacts")
    listed.update(f"arn:aws:s3:::{bucket}/{key}" for key in running.keys("artifacts", "config/"))
    table = running.resource("plat", "default", "state")["name"]
    for page in pages("dynamodb", "scan", TableName=table):
        listed.update(
            f"dynamodb:{item['pk']['S']}|{item['sk']['S']}"
            for item in page["Items"]
            if item["sk"]["S"].startswith(("SUBSCRIBER#", "PROFILE"))
        )
    spelled = [*names, *(name.replace("-", "_") for name in names)]
    return Counter({one: n for one, n in listed.items() if any(name in one for name in spelled)})


def said(running: Running, names: Collection[str]) -> set[str]:
    """What sources of these names and their Pipelines say that they have, spelled as in found."""
    lines = set()
    for name in names:
        for kind in ("dsrc", "pipe"):
            obj = running.get(kind, name)
            assert obj is not None
            for line in obj["status"]["resources"]:
                match line["kind"]:
                    case "redshift.Table":
                        continue
                    case "glue.Job":
                        lines.add(f"glue:job/{line['name']}")
                    case "glue.Table":
                        lines.add(f"glue:table/{line['arn'].rpartition('/')[2]}")
                    case "dynamodb.Item":
                        lines.add(f"dynamodb:{line['name'].partition('|')[2]}")
                    case _:
                        lines.add(line["arn"])
    return lines
