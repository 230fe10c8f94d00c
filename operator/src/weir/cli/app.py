"""The commands. Each reads its arguments, calls one function, and prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from weir.cli.documents import Document, read_files
from weir.cli.objects import ClusterError, Objects
from weir.kube.client import KubeError

if TYPE_CHECKING:
    from weir.cli.plan import Wish
    from weir.cli.stored import Cluster

# A command imports what it alone needs: the API models, boto3 and the CEL interpreter take longer to
# load than most commands run.

app = typer.Typer(
    help="Data pipelines on AWS as Kubernetes resources.", no_args_is_help=True, add_completion=True
)
WIDE = 240
"""Columns where nobody looks at a terminal: an ARN stays on one line."""
out = Console(width=None if sys.stdout.isatty() else WIDE, emoji=False)
err = Console(stderr=True, emoji=False, soft_wrap=True)

FOLLOWED = ("Platform", "DataSource", "Pipeline", "PipelineRun")


class Output(StrEnum):
    """How to print."""

    TEXT = "text"
    JSON = "json"


class PlanOutput(StrEnum):
    """How to print a plan."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


FileOption = Annotated[
    list[Path], typer.Option("--file", "-f", help="YAML file or folder; may be repeated.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Default: that of the current context.")
]


def fail(message: object, code: int = 1) -> NoReturn:
    """Say what is wrong and end."""
    if isinstance(message, OSError) and message.filename is not None:
        message = f"{message.filename}: {message.strerror}"
    err.print(f"[red]error:[/] {escape(str(message))}", highlight=False)
    raise typer.Exit(code)


def dump(data: Any) -> None:
    """Print JSON for a script."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


@app.command()
def validate(file: FileOption, output: OutputOption = Output.TEXT) -> None:
    """Check files offline, as the API server and the operator would. Exits 1 on a problem."""
    from weir.cli import crosscheck

    documents = _documents(file)
    result = crosscheck.findings(documents)
    found = result.problems
    for line in result.unchecked:
        err.print(f"note: {line}", highlight=False, markup=False, soft_wrap=True)
    if output is Output.JSON:
        dump([vars(problem) for problem in found])
    else:
        for problem in found:
            out.print(str(problem), highlight=False, markup=False, soft_wrap=True)
        if not found:
            out.print(f"{len(documents)} object(s), nothing wrong")
    raise typer.Exit(1 if found else 0)


@app.command()
def plan(
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", "-f", help="YAML file or folder, - for standard input; may be repeated."
        ),
    ] = None,
    namespace: NamespaceOption = None,
    diff: Annotated[
        str | None,
        typer.Option(
            help="Plan what changes between a Git revision and the working tree, removals included. "
            "REF... takes the merge base with HEAD."
        ),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Plan the deletion of the files' objects.")
    ] = False,
    cluster_id: Annotated[
        str | None,
        typer.Option(envvar="WEIR_CLUSTER_ID", help="Default: read off the Platform's roles."),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(envvar="WEIR_ARTIFACTS", help="Default: the code that is on AWS."),
    ] = None,
    output: Annotated[
        PlanOutput, typer.Option("--output", "-o", help="How to print.")
    ] = PlanOutput.TEXT,
) -> None:
    """Say what applying files would do on AWS. Changes nothing.

    Exits 0 without changes, 2 with changes, 1 where something can't be planned.
    """
    from weir.cli import plan_json, plan_markdown, plan_report, plan_text
    from weir.cli.manifests import Unusable
    from weir.cli.plan import Planner
    from weir.cli.revision import RevisionError

    if not file and diff is None:
        fail("give files with -f, or a Git revision with --diff")
    if delete and diff is not None:
        fail("--delete and --diff exclude each other: --diff plans removals by itself")
    cluster, default = _cluster()
    try:
        wish = _wish(file or [Path()], namespace, default, diff, delete)
        results = Planner(cluster, cluster_id, artifacts).plan(wish)
    except (Unusable, RevisionError, KubeError, OSError) as error:
        fail(error)
    reports = plan_report.report(results)
    if output is PlanOutput.JSON:
        dump(plan_json.as_json(results))
    elif output is PlanOutput.MARKDOWN:
        sys.stdout.write(plan_markdown.markdown(reports) + "\n")
    else:
        sys.stdout.write(plan_text.text(reports, colour=_is_coloured()) + "\n")
    raise typer.Exit(plan_report.exit_code(results))


@app.command()
def convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="The pipeline template's source, a dlt rest_api configuration (.py, YAML or JSON), "
            "or an Airbyte low-code manifest."
        ),
    ],
    platform: Annotated[str, typer.Option(help="Platform to run on.")] = "default",
    output: OutputOption = Output.TEXT,
) -> None:
    """Write a source of another format as DataSources."""
    import yaml

    from weir.cli import convert as conversion

    try:
        converted = conversion.convert_file(file, platform)
    except OSError as error:
        fail(error)
    except (conversion.CannotConvert, yaml.YAMLError) as error:
        fail(f"{file}: {error}")
    resources = [item.resource for item in converted]
    for item in converted:
        name = item.resource["metadata"]["name"]
        for note in item.notes:
            place = f"{name}: " if len(converted) > 1 else ""
            err.print(f"note: {place}{note}", highlight=False, markup=False, soft_wrap=True)
    if output is Output.JSON:
        dump(resources[0] if len(resources) == 1 else resources)
    else:
        sys.stdout.write(conversion.all_to_yaml(resources))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One statement.")],
    platform: Annotated[str, typer.Option(help="Platform whose warehouse is asked.")] = "default",
    secret: Annotated[
        str | None,
        typer.Option(envvar="WEIR_QUERY_SECRET", help="ARN of a secret to sign in with."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 60,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run SQL in a Platform's warehouse and print the rows."""
    from rich.table import Table

    from weir.cli import query as warehouse

    try:
        rows = warehouse.run(Objects().get("Platform", platform), sql, secret, timeout)
    except (ClusterError, warehouse.QueryError) as error:
        fail(error)
    if output is Output.JSON:
        dump(rows)
        return
    table = Table(header_style="bold")
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    if rows:
        out.print(table)
    out.print(f"{len(rows)} row(s)")


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="One object's name; default: all.")] = None,
    namespace: NamespaceOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say how the objects are: is data flowing, is every row accounted for?"""
    from weir.cli import follow

    try:
        objects = Objects(namespace)
        items = _followed(objects, name)
    except ClusterError as error:
        fail(error)
    if name and not items:
        fail(f"nothing is named {name} in namespace {objects.namespace}")
    if output is Output.JSON:
        dump(items)
        return
    if not name:
        out.print(follow.summary(items) if items else "no objects")
        return
    for number, item in enumerate(items):
        for part in ([""] if number else []) + follow.details(item):
            out.print(part, highlight=False)


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="Name of a Pipeline.")],
    namespace: NamespaceOption = None,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to follow.")] = 1800,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a pipeline now: ask its sources, process what lands, and follow it."""
    _request(pipeline, {"now": {}}, namespace, wait, timeout, output)


@app.command()
def backfill(
    pipeline: Annotated[str, typer.Argument(help="Name of a Pipeline.")],
    start: Annotated[str, typer.Option("--from", help="Start of the window: a date, or a moment.")],
    end: Annotated[str, typer.Option("--to", help="End of the window, excluded.")],
    timezone: Annotated[str, typer.Option(help="IANA zone of both.")] = "UTC",
    step: Annotated[str, typer.Option(help="Length of one part.")] = "1d",
    concurrency: Annotated[int, typer.Option(help="Parts that are landed at a time.")] = 1,
    source: Annotated[
        list[str] | None, typer.Option(help="A source that is asked. Default: all that drive it.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            help="Files, mails: what was landed before as well. Kafka: what is left of it."
        ),
    ] = False,
    namespace: NamespaceOption = None,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to follow.")] = 86_400,
    output: OutputOption = Output.TEXT,
) -> None:
    """Land a window of the past, in parts, and process it."""
    spec: dict[str, Any] = {
        "from": start,
        "to": end,
        "timezone": timezone,
        "step": step,
        "concurrency": concurrency,
    }
    if source:
        spec["sources"] = source
    if force:
        spec["force"] = True
    _request(pipeline, {"backfill": spec}, namespace, wait, timeout, output)


@app.command()
def replay(
    pipeline: Annotated[str, typer.Argument(help="Name of a Pipeline.")],
    runs: Annotated[list[str], typer.Argument(help="Runs whose quarantined rows are taken.")],
    namespace: NamespaceOption = None,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to follow.")] = 1800,
    output: OutputOption = Output.TEXT,
) -> None:
    """Take quarantined rows of earlier runs through the present contract."""
    _request(pipeline, {"replay": {"runs": runs}}, namespace, wait, timeout, output)


def _request(
    pipeline: str,
    wanted: dict[str, Any],
    namespace: str | None,
    wait: bool,
    timeout: float,
    output: Output,
) -> None:
    """Create a PipelineRun, follow it, and show how it ended."""
    from weir.cli import follow

    try:
        objects = Objects(namespace)
        objects.get("Pipeline", pipeline)
        created = objects.create(
            {
                "apiVersion": "weir.dev/v1alpha1",
                "kind": "PipelineRun",
                "metadata": {"generateName": f"{pipeline[:50]}-"},
                "spec": {"pipeline": pipeline, **wanted, "ttl": "7d"},
            }
        )
        name = created["metadata"]["name"]
        final = _follow(objects, name, timeout, output) if wait else created
    except ClusterError as error:
        fail(error)
    if output is Output.JSON:
        dump(final)
    elif not wait:
        out.print(f"PipelineRun {name} created")
    if not wait:
        return
    ready = follow.condition(final, "Ready")
    if ready["status"] != "True":
        fail(f"PipelineRun {name}: {ready['reason']}: {ready['message']}")
    if output is Output.TEXT:
        out.print(follow.account(final["status"].get("lastRun") or {}))


def _follow(objects: Objects, name: str, timeout: float, output: Output) -> dict[str, Any]:
    """Wait for a PipelineRun's end; show the steps that its executions take meanwhile."""
    from rich.console import Group
    from rich.live import Live

    from weir.cli import follow
    from weir.cli.steps import StepWatch

    deadline = time.monotonic() + timeout
    pipeline = objects.get("Pipeline", objects.get("PipelineRun", name)["spec"]["pipeline"])
    platform = objects.get("Platform", pipeline["spec"].get("platform", "default"))
    watch = StepWatch(platform)
    console = out if output is Output.TEXT else err
    with Live(console=console, transient=True) as live:
        while True:
            item = objects.get("PipelineRun", name)
            ready = follow.condition(item, "Ready")
            live.update(Group(follow.summary([item]), watch.table(item)))
            if item.get("status", {}).get("finished") or ready["status"] == "True":
                break
            if follow.condition(item, "Stalled")["status"] == "True":
                break
            if time.monotonic() > deadline:
                fail(f"PipelineRun {name} has not ended in {timeout:.0f} s: {ready['message']}")
            time.sleep(1)
    console.print(watch.table(item))
    return item


local = typer.Typer(help="A cluster and a local AWS on this machine.", no_args_is_help=True)
app.add_typer(local, name="local")


def _local(verb: str) -> None:
    command = [sys.executable, "-m", "weir_local", verb]
    result = subprocess.run(command, check=False)
    if result.returncode:
        raise typer.Exit(result.returncode)


@local.command("up")
def local_up() -> None:
    """Start cluster, local AWS and operator in the background."""
    _local("up")


@local.command("down")
def local_down() -> None:
    """End exactly what up started."""
    _local("down")


@local.command("status")
def local_status() -> None:
    """Say what runs."""
    _local("status")


def _is_coloured() -> bool:
    """Whether standard output is a terminal that wants colours (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def _wish(
    files: list[Path], namespace: str | None, default: str, ref: str | None, delete: bool
) -> Wish:
    """What is to be planned; says on standard error what was left out of it."""
    from weir.cli.manifests import Unusable, difference, manifests
    from weir.cli.plan import Wish
    from weir.cli.revision import compare

    if ref is None:
        found = manifests(list(read_files(files)), namespace, default)
        _note(*found.notes)
        if not found.objects:
            raise Unusable(
                f"there is no Platform, DataSchema, DataSource or Pipeline in "
                f"{', '.join(map(str, files))}"
            )
        if delete:
            return Wish(removed=found.objects)
        return Wish(applied=found.objects, namespaces=found.namespaces)
    revision = compare(ref, files)
    before = manifests(revision.before, namespace, default)
    after = manifests(revision.after, namespace, default)
    if not before.objects and not after.objects:
        raise Unusable(
            f"there is no Platform, DataSchema, DataSource or Pipeline in "
            f"{', '.join(map(str, files))}, neither now nor at {ref}"
        )
    changed = difference(before.objects, after.objects)
    _note(
        *after.notes,
        f"compared with {revision.name}: {len(changed.applied)} object(s) to apply, "
        f"{len(changed.removed)} to remove, {changed.unchanged} unchanged",
    )
    if revision.uncommitted:
        _note(f"{revision.uncommitted} file(s) are not committed, and part of the plan as they are")
    return Wish(changed.applied, changed.removed, changed.moved, after.namespaces)


def _note(*lines: str) -> None:
    for line in lines:
        err.print(f"note: {line}", highlight=False, markup=False, soft_wrap=True)


def _cluster() -> tuple[Cluster, str]:
    """The cluster and the default namespace; without one, a stand-in and a word about it."""
    from weir.cli.objects import Objects, kubeconfig
    from weir.cli.stored import NoServer, Server
    from weir.kube.client import Kube, load_config

    try:
        objects = Objects()
        server = Server(Kube(load_config(kubeconfig())))
        missing = server.missing_kinds()
        if not missing:
            return server, objects.namespace
        why = (
            f"it does not serve {', '.join(missing)}: install Weir's definitions first, "
            "with the chart or kubectl apply -f crds/"
        )
    except (ClusterError, KubeError) as error:
        silent = isinstance(error, KubeError) and error.status == 0
        why = "the API server does not answer" if silent else str(error)
    _note(
        f"planned without a cluster ({why}): defaults are this program's own, and all that is "
        "referred to must be in the files"
    )
    return NoServer(), "default"


def _documents(files: list[Path]) -> list[Document]:
    try:
        return list(read_files(files))
    except OSError as error:
        fail(error)


def _followed(objects: Objects, name: str | None) -> list[dict[str, Any]]:
    items = []
    for kind in FOLLOWED:
        found = [{"kind": kind, **item} for item in objects.list(kind)]
        items += [item for item in found if name in (None, item["metadata"]["name"])]
    return items
