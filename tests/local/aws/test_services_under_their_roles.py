"""State machines, schedules, functions and jobs do what their roles may, and say what they lack."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aws_makers import (
    allow,
    archive,
    eventually,
    execute,
    give,
    make_function,
    make_role,
    refused,
    unique,
)

from weir_local.aws.server import EndpointSession, LocalAws

ECHO = "def handler(event, context):\n    return event\n"
LOGS = allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"])


def test_a_task_calls_a_function_only_as_the_machines_role_may(admin: EndpointSession) -> None:
    function = make_function(admin, make_role(admin, "lambda"), ECHO)
    role = make_role(admin, "states")
    state = {
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "OutputPath": "$.Payload",
    }
    denied = execute(admin, role, state)
    assert denied["error"] == "Lambda.AWSLambdaException"
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
    assert (
        f"is not authorized to perform: lambda:InvokeFunction on resource: {arn}"
        in (denied["cause"])
    )
    give(admin, role, allow("lambda:InvokeFunction", arn))
    assert json.loads(execute(admin, role, state, {"a": 1})["output"]) == {"a": 1}


def test_a_functions_exception_is_the_tasks_error(admin: EndpointSession) -> None:
    code = (
        "class SourceRateLimited(Exception): pass\n"
        "def handler(event, context):\n    raise SourceRateLimited('slow down')\n"
    )
    logged = make_role(admin, "lambda", LOGS)
    function = make_function(admin, logged, code)
    role = make_role(admin, "states", allow("lambda:InvokeFunction"))
    state = {
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function},
    }
    failed = execute(admin, role, state)
    assert failed["error"] == "SourceRateLimited"
    assert json.loads(failed["cause"])["errorMessage"] == "slow down"


def test_any_aws_call_of_a_task_is_made_under_the_role(admin: EndpointSession) -> None:
    topic = admin.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    role = make_role(admin, "states")
    publish = {
        "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {"TopicArn": topic, "Message": {"failed": "run-1"}},
    }
    denied = execute(admin, role, publish)
    assert denied["error"] == "SNS.AuthorizationErrorException"
    assert f"is not authorized to perform: sns:Publish on resource: {topic}" in denied["cause"]
    give(admin, role, allow("sns:Publish", topic))
    assert execute(admin, role, publish)["status"] == "SUCCEEDED"
    listing = {"Resource": "arn:aws:states:::aws-sdk:secretsmanager:listSecrets", "Parameters": {}}
    denied = execute(admin, role, listing)
    assert denied["error"] == "SecretsManager.SecretsManagerException"
    assert "secretsmanager:ListSecrets" in denied["cause"]


def test_a_statement_is_run_through_the_data_api_under_the_role(admin: EndpointSession) -> None:
    role = make_role(admin, "states")
    state = {
        "Resource": "arn:aws:states:::aws-sdk:redshiftdata:batchExecuteStatement",
        "Parameters": {"WorkgroupName": "absent", "Database": "dev", "Sqls": ["select 1"]},
    }
    denied = execute(admin, role, state)
    assert denied["error"].startswith("RedshiftData.")
    assert "redshift-data:BatchExecuteStatement" in denied["cause"]


def test_payloads_over_256_kib_are_refused(admin: EndpointSession) -> None:
    role = make_role(admin, "states", allow("lambda:InvokeFunction"))
    code = "def handler(event, context):\n    return 'x' * 300000\n"
    function = make_function(admin, make_role(admin, "lambda"), code)
    state = {
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Only"}],
    }
    assert execute(admin, role, state)["error"] == "States.DataLimitExceeded"
    sfn = admin.client("stepfunctions")
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    machine = sfn.create_state_machine(name=unique("machine"), definition=definition, roleArn=role)[
        "stateMachineArn"
    ]
    large = json.dumps("x" * 262_143)
    assert "262144" in refused(sfn.start_execution, stateMachineArn=machine, input=large)


def test_a_schedule_starts_its_target_under_its_role_with_the_scheduled_time(
    admin: EndpointSession,
) -> None:
    sfn, scheduler = admin.client("stepfunctions"), admin.client("scheduler")
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    machine = sfn.create_state_machine(
        name=unique("machine"), definition=definition, roleArn=make_role(admin, "states")
    )["stateMachineArn"]
    allowed = make_role(admin, "scheduler", allow("states:StartExecution", machine))
    barred = make_role(admin, "scheduler")
    moment = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
    berlin = moment.astimezone(ZoneInfo("Europe/Berlin"))
    for role in (allowed, barred):
        scheduler.create_schedule(
            Name=unique("schedule"),
            ScheduleExpression=f"at({berlin:%Y-%m-%dT%H:%M:%S})",
            ScheduleExpressionTimezone="Europe/Berlin",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": machine,
                "RoleArn": role,
                "Input": json.dumps({"scheduledTime": "<aws.scheduler.scheduled-time>"}),
            },
        )

    def executions() -> list[Any]:
        return list(sfn.list_executions(stateMachineArn=machine)["executions"])

    assert eventually(executions)
    time.sleep(1.5)
    (only,) = executions()
    described = sfn.describe_execution(executionArn=only["executionArn"])
    assert json.loads(described["input"]) == {"scheduledTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}


def test_a_schedule_in_an_unknown_time_zone_is_refused(admin: EndpointSession) -> None:
    message = refused(
        admin.client("scheduler").create_schedule,
        Name=unique("schedule"),
        ScheduleExpression="rate(1 hour)",
        ScheduleExpressionTimezone="Europe/Atlantis",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:states:us-east-1:0:x", "RoleArn": make_role(admin, "scheduler")},
    )
    assert "Europe/Atlantis" in message


def test_a_queue_is_polled_only_as_the_functions_role_may(admin: EndpointSession) -> None:
    sqs, functions = admin.client("sqs"), admin.client("lambda")
    url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    role = make_role(admin, "lambda")
    mapping = {"FunctionName": make_function(admin, role, ECHO), "EventSourceArn": queue}
    message = refused(functions.create_event_source_mapping, **mapping)
    assert f"is not authorized to perform: sqs:ReceiveMessage on resource: {queue}" in message
    poll = allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], queue)
    give(admin, role, poll)
    functions.create_event_source_mapping(**mapping)
    sqs.send_message(QueueUrl=url, MessageBody="text")

    def waiting() -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in found.values())

    assert eventually(lambda: waiting() == 0)
    give(admin, role, LOGS)
    sqs.send_message(QueueUrl=url, MessageBody="text")
    time.sleep(1.5)
    assert waiting() == 1


def test_a_function_sees_its_runtime_alone_and_acts_as_its_role(admin: EndpointSession) -> None:
    code = (
        "import boto3, importlib.util\n"
        "def handler(event, context):\n"
        "    seen = importlib.util.find_spec('weir_contract') is not None\n"
        "    arn = boto3.client('sts').get_caller_identity()['Arn']\n"
        "    try:\n        boto3.client('s3').list_buckets()\n"
        "    except Exception as error:\n        return [seen, arn, str(error)]\n"
    )
    function = make_function(admin, make_role(admin, "lambda"), code)
    reply = admin.client("lambda").invoke(FunctionName=function)
    seen, arn, error = json.loads(reply["Payload"].read())
    assert not seen
    assert arn.endswith(f"/{function}")
    assert "is not authorized to perform: s3:ListAllMyBuckets" in error


def test_a_function_writes_logs_only_as_its_role_may(admin: EndpointSession) -> None:
    logs = admin.client("logs")
    silent = make_function(admin, make_role(admin, "lambda"), ECHO)
    heard = make_function(admin, make_role(admin, "lambda", LOGS), ECHO)
    for function in (silent, heard):
        admin.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    groups = {
        group["logGroupName"]
        for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/fn-")["logGroups"]
    }
    assert f"/aws/lambda/{heard}" in groups
    assert f"/aws/lambda/{silent}" not in groups


def test_embedded_metrics_raise_an_alarm_that_reaches_its_topic(admin: EndpointSession) -> None:
    namespace = unique("Weir")
    code = (
        "import json, time\n"
        "def handler(event, context):\n"
        "    print(json.dumps({'_aws': {'Timestamp': int(time.time() * 1000),\n"
        f"        'CloudWatchMetrics': [{{'Namespace': '{namespace}', 'Dimensions': [['Source']],\n"
        "        'Metrics': [{'Name': 'Quarantined', 'Unit': 'Count'}]}]},\n"
        "        'Source': event['source'], 'Quarantined': [1.0, 2.0]}))\n"
    )
    cloudwatch, sns, sqs = (admin.client(name) for name in ("cloudwatch", "sns", "sqs"))
    name = unique("alarm")
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    entrance = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [entrance]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    for source in ("orders", "customers"):
        cloudwatch.put_metric_alarm(
            AlarmName=f"{name}-{source}",
            Namespace=namespace,
            MetricName="Quarantined",
            Dimensions=[{"Name": "Source", "Value": source}],
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=3,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            TreatMissingData="notBreaching",
            AlarmActions=[topic],
        )
    function = make_function(admin, make_role(admin, "lambda", LOGS), code)
    admin.client("lambda").invoke(FunctionName=function, Payload=b'{"source": "orders"}')

    def states() -> dict[str, str]:
        found = cloudwatch.describe_alarms(AlarmNamePrefix=name)["MetricAlarms"]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}

    wanted = {f"{name}-orders": "ALARM", f"{name}-customers": "OK"}
    assert eventually(lambda: states() == wanted)
    message = eventually(
        lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")
    )
    assert json.loads(json.loads(message[0]["Body"])["Message"])["AlarmName"] == f"{name}-orders"


JOB = """
import sys
from pyspark.sql import SparkSession
import helper

def argument(name):
    return sys.argv[sys.argv.index(f"--{name}") + 1]

spark = SparkSession.builder.getOrCreate()
rows = spark.range(100).selectExpr("id", "concat('n', id % 3) as name")
rows.write.mode("overwrite").partitionBy("name").parquet(argument("OUT"))
print(helper.said(spark.read.parquet(argument("OUT")).count()))
print("JVM", spark._jvm.java.lang.ProcessHandle.current().pid())
"""


@pytest.mark.spark
def test_a_machine_waits_for_a_spark_job_that_reads_and_writes_under_its_role(
    aws: LocalAws, admin: EndpointSession
) -> None:
    s3, glue = admin.client("s3"), admin.client("glue")
    code, out, closed = (unique(name) for name in ("code", "out", "closed"))
    for bucket in (code, out, closed):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=code, Key="job.py", Body=JOB.encode())
    helper = "def said(rows):\n    return f'{rows} rows'\n"
    s3.put_object(Bucket=code, Key="extra.zip", Body=archive(helper=helper))
    open_buckets = [f"arn:aws:s3:::{bucket}{end}" for bucket in (code, out) for end in ("", "/*")]
    job_role = make_role(admin, "glue", allow("s3:*", open_buckets), LOGS)
    job = unique("job")
    made = {
        "GlueVersion": "5.0",
        "Command": {"Name": "glueetl", "ScriptLocation": f"s3://{code}/job.py"},
        "DefaultArguments": {"--extra-py-files": f"s3://{code}/extra.zip"},
    }
    glue.create_job(Name=job, Role=job_role, **made)
    role = make_role(admin, "states")
    state = {
        "Resource": "arn:aws:states:::glue:startJobRun.sync",
        "Parameters": {"JobName": job, "Arguments": {"--OUT.$": "$.out"}},
    }
    denied = execute(admin, role, state, {"out": f"s3://{out}/data/"})
    assert denied["error"] == "Glue.AccessDeniedException"
    assert "is not authorized to perform: glue:StartJobRun on resource" in denied["cause"]
    run_job = ["glue:StartJobRun", "glue:GetJobRun", "glue:BatchStopJobRun"]
    give(admin, role, allow(run_job, f"arn:aws:glue:us-east-1:000000000000:job/{job}"))

    done = execute(admin, role, state, {"out": f"s3://{out}/data/"})
    assert done["status"] == "SUCCEEDED", done
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=out)["Contents"]]
    assert {key.split("/")[1] for key in keys} == {"name=n0", "name=n1", "name=n2"}
    printed = messages(admin, json.loads(done["output"]))
    assert "100 rows" in printed

    failed = execute(admin, role, state, {"out": f"s3://{closed}/data/"})
    assert failed["error"] == "States.TaskFailed"
    message = json.loads(failed["cause"])["ErrorMessage"]
    assert "AccessDenied" in message
    assert closed in message

    # The next run has the JVM of those before it, and neither their role nor their settings.
    closed_bucket = [f"arn:aws:s3:::{closed}{end}" for end in ("", "/*")]
    readable = [f"arn:aws:s3:::{code}/*"]
    other = make_role(admin, "glue", allow("s3:*", closed_bucket + readable), LOGS)
    glue.update_job(JobName=job, JobUpdate={**made, "Role": other})
    done = execute(admin, role, state, {"out": f"s3://{closed}/data/"})
    assert done["status"] == "SUCCEEDED", done
    again = messages(admin, json.loads(done["output"]))
    assert again[-2:] == printed[-2:], "100 rows, and the same JVM"


def messages(admin: EndpointSession, run: dict[str, Any]) -> list[str]:
    """What a job's run printed."""
    found = admin.client("logs").get_log_events(
        logGroupName="/aws-glue/jobs/output", logStreamName=run["Id"]
    )["events"]
    return [event["message"] for event in found]


@pytest.mark.spark
def test_a_job_runs_as_often_at_once_as_it_says_and_stops_when_told(
    admin: EndpointSession,
) -> None:
    s3, glue = admin.client("s3"), admin.client("glue")
    code = unique("code")
    s3.create_bucket(Bucket=code)
    s3.put_object(Bucket=code, Key="job.py", Body=b"import time\ntime.sleep(60)\n")
    job = unique("job")
    glue.create_job(
        Name=job,
        Role=make_role(admin, "glue", allow("s3:GetObject"), LOGS),
        Command={"Name": "glueetl", "ScriptLocation": f"s3://{code}/job.py"},
    )
    run = glue.start_job_run(JobName=job)["JobRunId"]
    assert "ConcurrentRunsExceededException" in refused(glue.start_job_run, JobName=job)
    glue.batch_stop_job_run(JobName=job, JobRunIds=[run])
    state = glue.get_job_run(JobName=job, RunId=run)["JobRun"]["JobRunState"]
    assert state == "STOPPED"
