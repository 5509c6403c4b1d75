"""The keys that scripts read are there, and mean what the contract says."""

import re
from typing import Any

import pytest

from tests.unit.cli.harness import FILES, Cli, write

LIST_KEYS = {"upstream", "repo_type", "repo", "commit", "refs", "state", "files"} | {
    *("bytes", "recorded_at", "last_synced_at")
}
LOG_KEYS = {"commit", "title", "author", "committed_at", "recorded_at", "refs", "state"}
DIFF_KEYS = {"path", "change", "old_size", "new_size", "old_digest", "new_digest"}
ADD_KEYS = {"upstream", "repo_type", "repo", "revision", "commit", "path", "files"} | {
    *("bytes",)
}
SHOW_KEYS = {"upstream", "repo_type", "repo", "commit", "refs", "state", "files"}
FILE_KEYS = {"path", "size", "digest", "lfs", "state"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Held = tuple[Cli, str, str]


def test_add_prints_one_object(cli: Cli) -> None:
    folder = write(cli.tmp / "folder", FILES)
    done = cli.good("add", folder, "datasets/acme/corpus", "-m", "first", "--json")
    found = done.object()
    assert found.keys() >= ADD_KEYS
    assert found["upstream"] == "local"
    assert found["repo_type"] == "dataset"
    assert found["repo"] == "acme/corpus"
    assert found["files"] == len(FILES)
    assert found["bytes"] == sum(map(len, FILES.values()))
    assert re.fullmatch("[0-9a-f]{40}", found["commit"])
    assert done.err == ""


def test_list_prints_one_object_a_snapshot(held: Held) -> None:
    cli, first, second = held
    found = cli.good("list", "--json").objects()
    assert [one["commit"] for one in found] == [second, first]
    assert all(one.keys() >= LIST_KEYS for one in found)
    assert [one["refs"] for one in found] == [["main"], []]
    assert {one["state"] for one in found} == {"complete"}
    assert found[1]["files"] == len(FILES)
    assert found[1]["bytes"] == sum(map(len, FILES.values()))
    assert all(TIME.fullmatch(one["recorded_at"]) for one in found)
    assert all(TIME.fullmatch(one["last_synced_at"]) for one in found)


def test_list_takes_a_pattern(held: Held) -> None:
    cli, _, _ = held
    for pattern in ("acme/*", "ACME/model", "local:acme/*", "*"):
        assert len(cli.good("list", pattern, "--json").objects()) == 2
    for pattern in ("other/*", "datasets/*", "acme"):
        assert cli.good("list", pattern, "--json").objects() == []


def test_show_prints_one_object_with_every_file(held: Held) -> None:
    cli, first, _ = held
    found = cli.good("show", f"acme/model@{first}", "--json").object()
    assert found.keys() >= SHOW_KEYS
    files: dict[str, dict[str, Any]] = {one["path"]: one for one in found["files"]}
    assert files.keys() == FILES.keys()
    for path, one in files.items():
        assert one.keys() >= FILE_KEYS
        assert one["size"] == len(FILES[path])
        assert DIGEST.fullmatch(one["digest"])
        assert (one["lfs"], one["state"]) == (path == "weights.bin", "held")


def test_show_takes_a_short_commit(held: Held) -> None:
    cli, first, _ = held
    assert (
        cli.good("show", f"acme/model@{first[:7]}", "--json").object()["commit"]
        == first
    )


def test_log_prints_the_versions_newest_first(held: Held) -> None:
    cli, first, second = held
    found = cli.good("log", "acme/model", "--json").objects()
    assert [one["commit"] for one in found] == [second, first]
    assert [one["title"] for one in found] == ["two", "one"]
    assert all(one.keys() >= LOG_KEYS for one in found)
    assert all(TIME.fullmatch(one["committed_at"]) for one in found)


def test_diff_prints_what_was_added_removed_and_changed(held: Held) -> None:
    cli, first, second = held
    found = cli.good("diff", "acme/model", first, second, "--json").objects()
    assert all(one.keys() >= DIFF_KEYS for one in found)
    by_path = {one["path"]: one for one in found}
    assert {path: one["change"] for path, one in by_path.items()} == {
        "config.json": "changed",
        "new.txt": "added",
        "sub/vocab.txt": "removed",
    }
    added, removed = by_path["new.txt"], by_path["sub/vocab.txt"]
    assert (added["old_size"], added["old_digest"]) == (None, None)
    assert (removed["new_size"], removed["new_digest"]) == (None, None)
    assert (added["new_size"], removed["old_size"]) == (4, 4)
    assert DIGEST.fullmatch(by_path["config.json"]["old_digest"])


def test_a_version_does_not_differ_from_itself(held: Held) -> None:
    cli, _, second = held
    assert cli.good("diff", "acme/model", second, "main", "--json").out == ""


def test_quiet_prints_only_the_result(cli: Cli) -> None:
    folder = write(cli.tmp / "folder", FILES)
    done = cli.good("add", folder, "acme/model", "--quiet")
    (path,) = done.out.splitlines()
    assert path.startswith(str(cli.root / "hub"))
    assert done.err == ""


def test_talk_goes_to_stderr(cli: Cli) -> None:
    done = cli.good("add", write(cli.tmp / "folder", FILES), "acme/model")
    assert len(done.out.splitlines()) == 1
    assert "recorded" in done.err


def test_names_outside_ascii_are_printed_as_they_are(cli: Cli) -> None:
    folder = write(cli.tmp / "folder", {"\u6587\u5b57.txt": b"x"})
    cli.good("add", folder, "acme/model")
    utf8 = Cli(cli.tmp, cli.root, {"PYTHONIOENCODING": "utf-8"})
    assert "\u6587\u5b57.txt" in utf8.started("show", "acme/model").out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_a_terminal_cannot_show_do_not_end_a_command(
    cli: Cli, encoding: str
) -> None:
    folder = write(cli.tmp / "folder", {"\u6587\u5b57.txt": b"x"})
    cli.good("add", folder, "acme/model")
    poor = Cli(cli.tmp, cli.root, {"PYTHONIOENCODING": encoding})
    for words in (["show", "acme/model"], ["show", "acme/model", "--json"]):
        done = poor.started(*words)
        assert done.code == 0
        assert ".txt" in done.out
