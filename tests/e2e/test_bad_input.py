"""Bad input gives a clear message on the object, or a refusal, and nothing is half loaded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from e2e import declared
from e2e.running import Object, Running, condition, is_true, last_run
from e2e.source_server import Answer, SourceServer

pytestmark = pytest.mark.e2e

NOWHERE = "http://127.0.0.1:9/never-asked"
ENDLESS_LIMIT = 10 * 1024 * 1024

REFUSED = {
    "unknown-field": (
        declared.source("refused", NOWHERE, rest={"headerz": {"A": "b"}}),
        'unknown field "spec.source.restApi.headerz"',
    ),
    "two-sources-at-once": (
        declared.source("refused", NOWHERE)
        | {
            "spec": {
                "source": {
                    "restApi": {"endpoint": NOWHERE, "schedule": "rate(1 day)"},
                    "files": {"bucket": "some-bucket"},
                }
            }
        },
        "exactly one of restApi, email, files, stream",
    ),
    "schedule-of-another-language": (
        declared.source("refused", NOWHERE, rest={"schedule": "*/5 * * * *"}),
        "spec.source.restApi.schedule",
    ),
}
"""What the API server itself refuses, and what it says."""

TOLD = {
    "bad-cron": (
        declared.source("bad-cron", NOWHERE, rest={"schedule": "cron(0 25 * * ? *)"}),
        ("schedule", "25"),
    ),
    "bad-distkey": (
        declared.source(
            "bad-distkey",
            NOWHERE,
            destination={"prefix": "bad-distkey/"},
            redshift={"schema": "public_data", "table": "bad_distkey", "distkey": "customer"},
        ),
        ("spec.redshift.distkey", "'customer'", "id, name"),
    ),
    "secret-elsewhere": (
        declared.source(
            "secret-elsewhere", NOWHERE, rest={"headers": {"A": "${SECRET:../kube-system/token}"}}
        ),
        ("spec.source.restApi.headers.A", "SECRET"),
    ),
}
"""What the operator says on the object: a part of each message."""

ANSWERS = {
    "answers-401": (Answer(401, b"{}"), "SourceUnauthorized", "401"),
    "answers-html": (Answer(200, b"<html>Sign in</html>", "text/html"), "SourceBadAnswer", "HTML"),
    "answers-nothing": (Answer(200, b""), "SourceBadAnswer", "empty body"),
    "answers-endlessly": (
        Answer(200, b'[{"id": 1, "name": "' + b"x" * 65_536, endless=True),
        "SourceTooLarge",
        str(ENDLESS_LIMIT),
    ),
}
"""How an endpoint can fail, the error's class, and a part of the message."""


@pytest.fixture(scope="module")
def bad(running: Running, server: SourceServer) -> Iterator[None]:
    """All bad sources, applied at once; gone at the end."""
    failing = [
        declared.source(
            name,
            server.serve(f"/{name}", answer),
            rest={"limits": {"maxResponseBytes": ENDLESS_LIMIT, "maxAttempts": 1}},
        )
        for name, (answer, _, _) in ANSWERS.items()
    ]
    stream = declared.source("by-stream", NOWHERE)
    stream["spec"]["source"] = {
        "stream": {"kinesis": {"streamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"}}
    }
    objects = [*(body for body, _ in TOLD.values()), *failing, stream]
    running.apply(*objects)
    yield
    names = [body["metadata"]["name"] for body in objects]
    running.kubectl("delete", "dsrc", *names, "--timeout=180s")


def created(obj: Object) -> list[str]:
    """Kinds of the AWS resources that were made for an object."""
    lines = obj["status"].get("resources") or []
    return [line["kind"] for line in lines if line.get("state") not in ("External", "Creating")]


@pytest.mark.parametrize("case", REFUSED)
def test_kubectl_apply_is_refused(running: Running, case: str) -> None:
    body, message = REFUSED[case]
    assert message in running.refused(yaml.safe_dump(body))
    assert running.get("dsrc", "refused") is None


def test_a_mapping_key_that_yaml_takes_for_a_boolean_is_refused(running: Running) -> None:
    body = declared.source("refused", NOWHERE)
    text = yaml.safe_dump(body).replace("      name: name", "      y: latitude")
    assert "y: latitude" in text
    assert "quote" in running.refused(text)


@pytest.mark.parametrize("name", TOLD)
def test_the_object_says_what_is_wrong_and_nothing_is_made(
    running: Running, bad: None, name: str
) -> None:
    parts = TOLD[name][1]

    def told(obj: Object | None) -> bool:
        ready = condition(obj, "Ready")
        return ready.get("status") == "False" and all(part in ready["message"] for part in parts)

    obj = running.wait("dsrc", name, told)
    assert created(obj) == []
    assert running.keys("raw", f"default/{name}/") == []


@pytest.mark.parametrize("name", ANSWERS)
def test_an_endpoint_that_fails_is_told_on_the_object_and_nothing_lands(
    running: Running, bad: None, name: str
) -> None:
    _, error, part = ANSWERS[name]
    obj = running.wait_run("dsrc", name, state="Failed")
    flowing = condition(obj, "Flowing")
    assert (flowing["status"], flowing["reason"]) == ("False", "RunFailed")
    assert error in flowing["message"] and part in flowing["message"]
    assert last_run(obj)["message"] == flowing["message"]
    assert running.keys("raw", f"default/{name}/_manifests/") == []
    assert any(reason == "RunFailed" for reason, _ in running.events("DataSource", name))


def test_a_missing_secret_is_named_and_the_source_is_not_asked_without_it(
    running: Running, server: SourceServer
) -> None:
    endpoint = server.rows("/needs-secret", [{"id": 1, "name": "a"}])
    body = declared.source("needs-secret", endpoint, rest={"headers": {"A": "${SECRET:made_late}"}})
    running.apply(body)
    obj = running.wait("dsrc", "needs-secret", lambda one: "made_late" in message_of(one))
    assert "weir/default/made_late" in message_of(obj)
    assert "does not exist" in message_of(obj)
    assert not is_true(obj, "Ready") and "/needs-secret" not in server.asked
    running.secret("made_late", "a value")
    running.wait_run("dsrc", "needs-secret")
    assert server.asked["/needs-secret"] == 1
    running.kubectl("delete", "dsrc", "needs-secret", "--timeout=180s")


def message_of(obj: Object | None) -> str:
    found: str = condition(obj, "Ready").get("message", "")
    return found


def test_a_stream_that_nobody_granted_is_named_and_nothing_is_made(
    running: Running, bad: None
) -> None:
    obj = running.wait("dsrc", "by-stream", lambda one: bool(condition(one, "Ready")))
    assert condition(obj, "Ready")["reason"] == "ExternalNotGranted"
    assert "stream/clicks" in condition(obj, "Ready")["message"]
    assert created(obj) == []
