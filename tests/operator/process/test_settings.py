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
    [[], ["--cluster-id", "Too Long For A Name"], ["--cluster-id", "c", "--listen", "x"]],
)
def test_what_is_wrong_is_said_at_the_start(arguments):
    with pytest.raises(SystemExit):
        read(arguments, {})
