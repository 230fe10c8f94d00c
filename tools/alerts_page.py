"""docs/alerts.md: every alert of the chart, from the file that the chart reads."""

from __future__ import annotations

from pathlib import Path

import yaml

ALERTS = Path(__file__).parents[1] / "charts" / "weir" / "files" / "alerts.yaml"
HEAD = """# Alerts

<!-- Written by make generate from charts/weir/files/alerts.yaml: don't edit. -->

`metrics.prometheusRule.enabled: true` makes them, where the Prometheus operator's definitions are installed; `disabled` leaves
some out, `alertLabels` routes them. Each has a runbook: what it means, how to look, what to do, when to ignore it. Set
`metrics.prometheusRule.runbooks` to where you serve docs/runbooks, so that `runbook_url` leads there.

Without the Prometheus operator: `helm template ... --set metrics.prometheusRule.enabled=true -s templates/prometheusrule.yaml`, and
take `spec` as a rule file.

| alert | severity | after | says |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = [
        f"| [{one['alert']}](runbooks/{one['alert']}.md) | {one['severity']} "
        f"| {one.get('for', 'at once')} | {one['summary'].replace('$labels.', '')} "
        f"{one['description']} |"
        for one in yaml.safe_load(ALERTS.read_text())
    ]
    expressions = [
        f"{one['alert']}:\n  {one['expr']}" for one in yaml.safe_load(ALERTS.read_text())
    ]
    tail = "\n## Expressions\n\n```\n" + "\n".join(expressions) + "\n```\n"
    return HEAD + "\n".join(rows) + "\n" + tail
