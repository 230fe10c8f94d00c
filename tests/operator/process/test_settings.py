from __future__ import annotations

import pytest

from weir.settings import HIDDEN, read, redact


def test_values_under_keys_that_speak_of_secrets_are_not_written_however_deep():
    line = {
        "event": "called",
        "headers": {"Authorization": "Bearer abc", "accept": "json"},
        "found": [{"aws_secret_access_key": "xyz", "name": "n"}],
    }
    assert redact(None, "info", line) == {
        "event": "called",
        "headers": {"Authorization": HIDDEN, "accept": "json"},
        "found": [{"aws_secret_access_key": HIDDEN, "name": "n"}],
    }


def test_a_flag_goes_before_the_environment():
    environment = {"WEIR_CLUSTER_ID": "c1", "WEIR_DRIFT_INTERVAL": "5m", "WEIR_WORKERS": "3"}
    found = read(["--drift-interval", "1m"], environment)
    assert (found.cluster, found.drift_interval, found.workers) == ("c1", 60.0, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--cluster-id", "Too Long For A Name"],
        ["--cluster-id", "c", "--listen", "x"],
        ["--cluster-id", "c", "--renew-deadline", "20"],
        ["--cluster-id", "c", "--stuck-after", "long"],
    ],
)
def test_what_is_wrong_is_said_at_the_start(arguments):
    with pytest.raises(SystemExit):
        read(arguments, {})


def test_a_container_that_starts_anew_is_who_its_pod_is_and_others_are_nobody_else():
    pod = {"WEIR_CLUSTER_ID": "c", "WEIR_POD_NAME": "weir-0", "WEIR_POD_UID": "0c1f"}
    assert read([], pod).identity == read([], pod).identity == "weir-0_0c1f"
    alone = {"WEIR_CLUSTER_ID": "c"}
    assert read([], alone).identity != read([], alone).identity


def test_the_terms_of_the_election_are_those_of_kubernetes_own_components():
    terms = read(["--cluster-id", "c"], {}).terms
    assert (terms.duration, terms.renew_deadline, terms.retry_period) == (15.0, 10.0, 2.0)
    assert terms.last_write == 5.0
