"""What files, streams and revisions come to, before anybody asks AWS."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from weir.cli.documents import read_files, read_text
from weir.cli.manifests import Unusable, difference, manifests
from weir.cli.revision import RevisionError, compare
from weir.kube.keys import Key

SOURCE = """apiVersion: weir.dev/v1alpha1
kind: DataSource
metadata:
  name: {name}
spec:
  source: {{restApi: {{endpoint: "https://api.example.com/{path}"}}}}
"""


def source(name: str, path: str = "x") -> str:
    return SOURCE.format(name=name, path=path)


def keys(found) -> list[str]:
    return [str(Key.of(one)) for one in found]


def objects(text: str, namespace: str | None = None):
    return manifests(list(read_text(text, "a.yaml")), namespace, "team")


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., str]:
    """A Git repository; a call runs git in it."""

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "a.yaml").write_text(source("a"))
    (tmp_path / "sources" / "b.yaml").write_text(source("b"))
    (tmp_path / "values.yaml").write_text("name: {{ .Values.x }}\n")
    git("add", ".")
    git("commit", "-qm", "one")
    return git


def test_a_folder_is_read_recursively_and_only_where_our_objects_are(tmp_path: Path) -> None:
    deep = tmp_path / "one" / "two"
    deep.mkdir(parents=True)
    (deep / "a.yaml").write_text(source("a"))
    (tmp_path / "b.json").write_text(
        '{"apiVersion": "weir.dev/v1alpha1", "kind": "DataSource", "metadata": {"name": "b"}}'
    )
    (tmp_path / "chart.yaml").write_text("name: {{ .Values.broken }}\n  - no yaml")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "c.yaml").write_text(source("c"))
    (tmp_path / "notes.txt").write_text(source("d"))
    found = manifests(list(read_files([tmp_path])), None, "team")
    assert keys(found.objects) == ["DataSource team/b", "DataSource team/a"]


def test_a_stream_may_hold_much_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``helm template`` prints it."""
    stream = "\n---\n".join(
        [
            "# Source: chart/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\n"
            "metadata: {name: c}",
            "# Source: chart/templates/a.yaml\n" + source("a"),
            "",
        ]
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(stream))
    found = manifests(list(read_files([Path("-")])), "shop", "team")
    assert keys(found.objects) == ["DataSource shop/a"]
    assert found.notes == ("left out, since Weir builds nothing on AWS from it: 1 ConfigMap",)


def test_a_namespace_is_known_with_its_labels_and_not_left_out() -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n---\n"
    found = objects(text + source("a"))
    assert found.namespaces == {"shop": {"team": "a"}}
    assert found.notes == ()


def test_a_list_is_its_items_each_with_its_line() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- " + source("a").replace("\n", "\n  ")
    found = objects(text)
    assert keys(found.objects) == ["DataSource team/a"]
    document = next(iter(read_text(text)))
    assert document.line(("spec", "source")) == 9


@pytest.mark.parametrize(
    "text",
    [
        source("{{ .Release.Name }}"),
        "{{- if .Values.on }}\n" + source("a") + "{{- end }}\n",
        source("a") + "  suspend: {{ .Values.suspend }}\n",
    ],
)
def test_an_unrendered_template_is_named_as_such(text: str) -> None:
    with pytest.raises(Unusable, match=r"a\.yaml:\d+:.*helm template"):
        objects(text)


def test_an_object_that_stands_twice_is_refused_with_both_places() -> None:
    with pytest.raises(Unusable, match=r"a\.yaml:8: DataSource team/a .* first is a\.yaml:1"):
        objects(source("a") + "---\n" + source("a"))


def test_a_document_may_not_contradict_the_command_line() -> None:
    text = source("a").replace("  name: a", "  name: a\n  namespace: other")
    assert keys(objects(text).objects) == ["DataSource other/a"]
    with pytest.raises(Unusable, match=r"a\.yaml:5: .*namespace other, but --namespace says team"):
        objects(text, "team")


def test_a_nameless_object_is_refused_with_its_line() -> None:
    with pytest.raises(Unusable, match=r"a\.yaml:3: metadata\.name is missing"):
        objects(source("a").replace("name: a", "generateName: a"))


def test_what_differs_is_what_weir_reads() -> None:
    before = objects(source("a") + "---\n" + source("b")).objects
    commented = objects("# hello\n" + source("b") + "---\n" + source("a")).objects
    assert difference(before, commented).applied == ()
    changed = difference(before, objects(source("a", "y") + "---\n" + source("b")).objects)
    assert keys(changed.applied) == ["DataSource team/a"] and changed.removed == ()
    assert changed.unchanged == 1


def test_an_object_with_another_name_and_the_same_spec_was_moved() -> None:
    before = objects(source("a") + "---\n" + source("b", "z")).objects
    after = objects(source("c") + "---\n" + source("b", "z")).objects
    found = difference(before, after)
    assert found.moved == {Key("DataSource", "team", "c"): Key("DataSource", "team", "a")}
    assert keys(found.applied) == ["DataSource team/c"]
    assert keys(found.removed) == ["DataSource team/a"]


def test_a_revision_is_compared_with_the_working_tree(
    repository: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "sources" / "a.yaml").write_text(source("a", "changed"))
    (tmp_path / "sources" / "b.yaml").unlink()
    (tmp_path / "sources" / "new.yaml").write_text(source("c"))
    found = compare("main", [tmp_path])
    assert found.uncommitted == 3
    before = manifests(found.before, None, "team").objects
    after = manifests(found.after, None, "team").objects
    changed = difference(before, after)
    assert keys(changed.applied) == ["DataSource team/a", "DataSource team/c"]
    assert keys(changed.removed) == ["DataSource team/b"]
    assert [one.file for one in found.before] == ["main:sources/a.yaml", "main:sources/b.yaml"]


def test_a_moved_file_is_no_change(repository: Callable[..., str], tmp_path: Path) -> None:
    repository("mv", "sources/a.yaml", "a.yml")
    found = compare("HEAD", [tmp_path])
    changed = difference(
        manifests(found.before, None, "t").objects, manifests(found.after, None, "t").objects
    )
    assert (changed.applied, changed.removed, changed.unchanged) == ((), (), 2)


def test_a_single_file_may_be_gone_by_now(repository: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "sources" / "a.yaml"
    file.unlink()
    found = compare("main", [file])
    assert len(found.before) == 1 and found.after == ()
    with pytest.raises(RevisionError, match="neither in the working tree nor at main"):
        compare("main", [tmp_path / "sources" / "never.yaml"])


def test_the_merge_base_leaves_out_what_others_did_meanwhile(
    repository: Callable[..., str], tmp_path: Path
) -> None:
    repository("checkout", "-qb", "mine")
    (tmp_path / "mine.yaml").write_text(source("mine"))
    repository("add", ".")
    repository("commit", "-qm", "mine")
    repository("checkout", "-q", "main")
    (tmp_path / "theirs.yaml").write_text(source("theirs"))
    repository("add", ".")
    repository("commit", "-qm", "theirs")
    repository("checkout", "-q", "mine")

    def removed(ref: str) -> list[str]:
        found = compare(ref, [tmp_path])
        before, after = (manifests(one, None, "t").objects for one in (found.before, found.after))
        return keys(difference(before, after).removed)

    assert removed("main") == ["DataSource t/theirs"]
    assert removed("main...") == []
    assert compare("main...", [tmp_path]).uncommitted == 0


def test_what_git_ignores_and_links_are_left_out(
    repository: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / ".gitignore").write_text("rendered/\n")
    (tmp_path / "rendered").mkdir()
    (tmp_path / "rendered" / "r.yaml").write_text(source("r"))
    (tmp_path / "link.yaml").symlink_to(tmp_path / "sources" / "a.yaml")
    found = compare("main", [tmp_path])
    assert keys(manifests(found.after, None, "t").objects) == ["DataSource t/a", "DataSource t/b"]


def test_a_revision_that_is_none_says_how_to_get_it(
    repository: Callable[..., str], tmp_path: Path
) -> None:
    for ref in ("origin/main", "--output=/tmp/x", "main:sources/a.yaml"):
        with pytest.raises(RevisionError, match=r"is no branch, tag or commit.*fetch"):
            compare(ref, [tmp_path])


def test_outside_of_a_repository_or_from_a_stream_there_is_nothing_to_compare(
    tmp_path: Path,
) -> None:
    with pytest.raises(RevisionError, match="no Git repository"):
        compare("main", [tmp_path])
    with pytest.raises(RevisionError, match="standard input has no former revision"):
        compare("main", [Path("-")])


def test_two_repositories_are_one_too_many(repository: Callable[..., str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=other, check=True)
    with pytest.raises(RevisionError, match="one repository"):
        compare("main", [tmp_path, other])
