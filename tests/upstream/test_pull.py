"""Pulling from a hub that follows the contract."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from hubsync.model.paths import HostilePathError
from hubsync.model.repo import RepoType
from hubsync.ports.hub import NotAllowedError, RepoNotFoundError, RevisionNotFoundError
from tests.pulling import Mirror, Talk
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.testhub.listing import Json
from tests.testhub.world import Content

WEIGHTS = os.urandom(3_000_000)
FILES: dict[str, Content] = {
    "README.md": b"---\nlicense: mit\n---\n# tiny\n",
    "config.json": b"{}\n",
    "model.safetensors": Lfs(WEIGHTS),
    "onnx/model.onnx": Lfs(b"onnx" * 5000),
    "sub dir/a b#1.txt": b"odd name\n",
    "empty.txt": b"",
}


@pytest.fixture
def tiny(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny", pipeline_tag="fill-mask", tags=("bert",))
    repo.commit(FILES, "First version\n\nWith a body.", author="alice")
    return repo


def content(value: object) -> bytes:
    data = value.content if isinstance(value, Lfs) else value
    assert isinstance(data, bytes)
    return data


def test_every_byte_of_a_repo_arrives_and_is_laid_out_as_a_cache(
    mirror: Mirror, tiny: HubRepo
) -> None:
    result = mirror.pull("acme/tiny")
    assert result.path is not None
    for name, value in FILES.items():
        assert (result.path / name).read_bytes() == content(value)
    folder = result.path.parents[1]
    assert (folder / "refs/main").read_bytes() == result.commit.oid.encode()
    tree = json.loads((folder / f"trees/{result.commit.oid}.json").read_text())
    assert set(tree["files"]) == set(FILES)
    link = str((result.path / "onnx/model.onnx").readlink())
    assert link.startswith("../../../blobs/")
    for name, path in mirror.blobs().items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
        assert path.stat().st_mode & 0o222 == 0


def test_commit_title_author_and_date_are_recorded(
    mirror: Mirror, tiny: HubRepo
) -> None:
    mirror.pull("acme/tiny")
    logged = mirror.json("log", "acme/tiny")
    assert logged["title"] == "First version"
    assert logged["author"] == "alice"
    assert logged["committed_at"] == "2026-01-01T00:00:00Z"
    shown = mirror.json("show", "acme/tiny")
    assert shown["hub_id"] == tiny.hub_id


def test_an_unchanged_repo_costs_one_request(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    hub.log.clear()
    assert mirror.pull("acme/tiny").bytes_fetched == 0
    assert len(hub.requests) == 1


def test_a_full_commit_that_is_recorded_costs_no_request(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    commit = mirror.pull("acme/tiny").commit.oid
    hub.log.clear()
    mirror.pull("acme/tiny", commit)
    assert hub.requests == []


def test_a_changed_readme_costs_four_requests_and_no_lfs_byte(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    tiny.commit({"README.md": b"# changed\n"}, "Words")
    hub.log.clear()
    result = mirror.pull("acme/tiny")
    assert result.path is not None
    assert (result.path / "README.md").read_bytes() == b"# changed\n"
    assert len(hub.requests) <= 4
    assert hub.lfs_bytes_sent == 0
    assert result.requests == len(hub.requests)


def test_a_second_repo_with_the_same_weights_fetches_no_lfs_byte(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    hub.create_repo("acme/copy").commit({"w.bin": Lfs(WEIGHTS), "x": b"1"})
    hub.log.clear()
    assert mirror.pull("acme/copy").bytes_fetched == 1
    assert hub.lfs_bytes_sent == 0


def test_all_pages_of_the_tree_are_read(tmp_path: Path) -> None:
    with TestHub(tmp_path / "hub", page_size=7) as hub:
        files = {f"d{i % 5}/f{i}.txt": b"%d" % i for i in range(60)}
        hub.create_repo("acme/many").commit(files)
        result = Mirror(tmp_path / "m", hub.endpoint).pull("acme/many")
        assert result.path is not None
        for name, data in files.items():
            assert (result.path / name).read_bytes() == data


@pytest.mark.parametrize(
    ("revision", "ref"),
    [
        ("main", "refs/main"),
        ("v1.0", "refs/v1.0"),
        ("feature/x", "refs/feature/x"),
        ("refs/pr/1", "refs/refs/pr/1"),
        ("refs/convert/parquet", "refs/refs/convert/parquet"),
        ("SHORT", None),
        ("FULL", None),
    ],
)
def test_any_revision_can_be_pulled(
    mirror: Mirror, tiny: HubRepo, revision: str, ref: str | None
) -> None:
    commit = tiny.resolve("main")
    assert commit is not None
    tiny.tag("v1.0", commit)
    tiny.branch("feature/x", commit)
    tiny.open_pr(commit)
    tiny.convert("parquet", commit)
    asked = {"SHORT": commit[:8], "FULL": commit}.get(revision, revision)
    result = mirror.pull("acme/tiny", asked)
    assert result.commit.oid == commit
    assert result.path is not None
    if ref is not None:
        assert (result.path.parents[1] / ref).read_text() == commit
    else:
        assert list((result.path.parents[1] / "refs").iterdir()) == []


def test_datasets_and_spaces_are_pulled_as_what_they_are(
    mirror: Mirror, hub: TestHub
) -> None:
    for kind in (RepoType.DATASET, RepoType.SPACE):
        hub.create_repo("acme/same", kind.value).commit({"kind.txt": kind.encode()})
        result = mirror.pull("acme/same", repo_type=kind)
        assert result.path is not None
        assert (result.path / "kind.txt").read_text() == kind.value
        assert result.path.parents[1].name == f"{kind.value}s--acme--same"


def test_include_and_exclude_select_files_and_more_can_follow(
    mirror: Mirror, tiny: HubRepo
) -> None:
    first = mirror.pull("acme/tiny", include=("*.json", "*.md"), exclude=("README*",))
    assert first.path is not None
    assert [path.name for path in first.path.iterdir()] == ["config.json"]
    assert mirror.json("list")["state"] == "partial"
    folder = first.path.parents[1]
    assert not (folder / f"trees/{first.commit.oid}.json").exists()
    second = mirror.pull("acme/tiny")
    assert second.totals.reuse_bytes == len(content(FILES["config.json"]))
    assert mirror.json("list")["state"] == "complete"
    assert (first.path / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / f"trees/{first.commit.oid}.json").exists()


def test_skip_smudge_records_everything_and_fetches_only_plain_files(
    mirror: Mirror, tiny: HubRepo, hub: TestHub, tmp_path: Path
) -> None:
    result = mirror.pull("acme/tiny", skip_smudge=True)
    assert hub.lfs_bytes_sent == 0
    assert result.totals.pointers == 2
    assert result.path is not None
    assert not (result.path / "model.safetensors").exists()
    shown = mirror.json("show", "acme/tiny")
    assert shown["state"] == "pointers"
    states = {one["path"]: one["state"] for one in shown["files"]}
    assert states["model.safetensors"] == "pointer"
    mirror.json("checkout", "acme/tiny", str(tmp_path / "out"), "--skip-smudge")
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    pointer = (tmp_path / "out/model.safetensors").read_text()
    assert pointer == (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{sha256}\nsize {len(WEIGHTS)}\n"
    )
    hub.log.clear()
    later = mirror.pull("acme/tiny")
    assert later.totals.pointers == 0
    assert later.bytes_fetched == later.totals.fetch_bytes == hub.lfs_bytes_sent
    assert (result.path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_token_goes_to_the_hub_and_never_to_the_cdn(
    mirror: Mirror, hub: TestHub
) -> None:
    hub.create_repo("acme/private", private=True).commit(
        {"a.txt": b"a", "w.bin": Lfs(b"w" * 500)}
    )
    hub.add_token("hf_canary", can_read={"acme/private"})
    done = mirror.run("pull", "acme/private", env={"HF_TOKEN": "hf_canary"})
    assert done.returncode == 0, done.stderr
    assert [one.notes for one in hub.requests if one.notes] == []
    for one in hub.requests:
        encoding = one.headers.get("Accept-Encoding", "")
        if "/resolve/" in one.path or one.role == "cdn":
            assert encoding == "identity"
    assert "hf_canary" not in done.stdout + done.stderr


def test_errors_of_the_hub_become_ours(mirror: Mirror, hub: TestHub) -> None:
    hub.create_repo("acme/gated", gated="manual").commit({"a": b"1"})
    hub.create_repo("acme/off", disabled=True).commit({"a": b"1"})
    hub.create_repo("acme/none-yet")
    for name, error in (
        ("acme/missing", RepoNotFoundError),
        ("acme/gated", NotAllowedError),
        ("acme/off", NotAllowedError),
        ("acme/none-yet", RevisionNotFoundError),
    ):
        with pytest.raises(error) as caught:
            mirror.pull(name)
        assert name in str(caught.value)
    with pytest.raises(RevisionNotFoundError):
        mirror.pull("acme/gated", "no-such-branch")


def test_a_refused_token_is_named(mirror: Mirror, hub: TestHub) -> None:
    hub.create_repo("acme/private", private=True).commit({"a": b"1"})
    done = mirror.run("pull", "acme/private", env={"HF_TOKEN": "hf_wrong"})
    assert done.returncode == 4
    assert "refuses the token" in done.stderr


def test_a_commit_that_arrives_during_the_pull_is_not_mixed_in(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    pinned = tiny.resolve("main")

    def move_main(seen: object) -> None:
        hub.hooks.clear()
        tiny.commit({"config.json": b"other", "model.safetensors": Lfs(b"other")})

    hub.faults.add(Fault("slow", match="README", rate=100_000))
    hub.hooks.append(lambda seen: move_main(seen) if "/tree/" in seen.path else None)
    result = mirror.pull("acme/tiny")
    assert result.commit.oid == pinned
    assert result.path is not None
    assert (result.path / "model.safetensors").read_bytes() == WEIGHTS


def test_history_stays_when_upstream_forgets_it(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    first = mirror.pull("acme/tiny").commit.oid
    second = tiny.commit({"config.json": b"2"}, "Second")
    mirror.pull("acme/tiny")
    rewritten = tiny.commit({"config.json": b"3"}, "Rewritten", parent=first)
    tiny.force_push("main", rewritten)
    mirror.pull("acme/tiny")
    tiny.delete()
    with pytest.raises(RepoNotFoundError):
        mirror.pull("acme/tiny")
    log = [
        json.loads(line)
        for line in mirror.run("log", "acme/tiny", "--json").stdout.splitlines()
    ]
    assert [one["commit"] for one in log] == [rewritten, second, first]
    moves = [
        json.loads(line)
        for line in mirror.run(
            "log", "acme/tiny", "--refs", "--json"
        ).stdout.splitlines()
    ]
    assert [(one["old"], one["new"]) for one in moves] == [
        (second, rewritten),
        (first, second),
        (None, first),
    ]


def test_a_renamed_repo_keeps_its_history_and_both_names(
    mirror: Mirror, tiny: HubRepo
) -> None:
    first = mirror.pull("acme/tiny").commit.oid
    tiny.rename("acme/renamed")
    second = tiny.commit({"config.json": b"2"}, "Second")
    result = mirror.pull("acme/tiny")
    assert result.repo.name == "acme/renamed"
    for name in ("acme/renamed", "acme/tiny"):
        lines = mirror.run("log", name, "--json").stdout.splitlines()
        assert [json.loads(line)["commit"] for line in lines] == [second, first]
    hub_folder = mirror.root / "hub"
    for folder in ("models--acme--tiny", "models--acme--renamed"):
        assert (hub_folder / folder / "refs/main").read_text() == second


def test_another_repo_under_the_old_name_is_refused(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    first = mirror.pull("acme/tiny").commit.oid
    tiny.delete()
    hub.create_repo("acme/tiny").commit({"config.json": b"evil"}, "Mine now")
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode == 4, done.stderr
    assert "--force" in done.stderr
    ref = mirror.root / "hub/models--acme--tiny/refs/main"
    assert ref.read_text() == first
    assert mirror.run("pull", "acme/tiny", "--force").returncode == 0
    assert ref.read_text() != first


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/x",
        "a/../../x",
        "a//b",
        "a\\b",
        "a\nb",
        "x" * 300,
        "a/" * 3000 + "b",
    ],
)
def test_s1_a_path_that_escapes_is_refused_and_nothing_is_recorded(
    mirror: Mirror, tiny: HubRepo, path: str
) -> None:
    def add_hostile(rows: list[Json]) -> list[Json]:
        return [*rows, {"type": "file", "oid": "0" * 40, "size": 1, "path": path}]

    tiny.tree_override = add_hostile
    with pytest.raises(HostilePathError):
        mirror.pull("acme/tiny")
    assert mirror.run("list", "--json").stdout == ""
    assert mirror.blobs() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"oid": "xyz"},
        {"size": -1},
        {"size": "10"},
        {"path": None},
        {"path": "a\0b"},
        {"type": "symlink"},
        {"lfs": {"oid": "../../x", "size": 1, "pointerSize": 1}},
    ],
)
def test_a_listing_that_makes_no_sense_is_refused(
    mirror: Mirror, tiny: HubRepo, change: dict[str, object]
) -> None:
    row = {"type": "file", "oid": "0" * 40, "size": 1, "path": "new", **change}
    tiny.tree_override = lambda rows: [*rows, row]
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode == 6
    assert "Traceback" not in done.stderr
    assert mirror.blobs() == {}


def test_dry_run_says_what_it_would_fetch_and_changes_nothing(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    plan = mirror.json("pull", "acme/tiny", "--dry-run")
    assert plan["bytes_to_fetch"] == sum(len(content(v)) for v in FILES.values())
    assert plan["bytes_fetched"] == 0
    assert mirror.blobs() == {}
    assert hub.log.matching("/resolve/") == []


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_what_takes_the_clients_offline_takes_a_pull_offline(
    mirror: Mirror, tiny: HubRepo, hub: TestHub, name: str
) -> None:
    offline = {name: "1"}
    done = mirror.run("pull", "acme/tiny", env=offline)
    assert done.returncode == 10
    assert f"{name} is set, which means --offline" in done.stderr
    online = mirror.pull("acme/tiny")
    hub.log.clear()
    assert mirror.json("pull", "acme/tiny", env=offline)["commit"] == online.commit.oid
    assert hub.requests == []
    assert mirror.json("pull", "acme/tiny", env={name: "0"})["requests"] == 1


def test_offline_answers_from_the_store_and_sends_nothing(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    done = mirror.run("pull", "acme/tiny", "--offline")
    assert done.returncode == 10
    online = mirror.pull("acme/tiny", include=("*.json",))
    hub.log.clear()
    offline = mirror.json("pull", "acme/tiny", "--offline", "--include", "*.json")
    assert offline["commit"] == online.commit.oid
    done = mirror.run("pull", "acme/tiny", "--offline")
    assert done.returncode == 10
    assert "are not held" in done.stderr
    assert hub.requests == []


def test_one_file_can_be_named_by_its_address(mirror: Mirror, tiny: HubRepo) -> None:
    url = "https://huggingface.co/acme/tiny/blob/main/config.json"
    done = mirror.run("pull", url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/config.json")
    missing = mirror.run("pull", url.replace("config", "nope"))
    assert missing.returncode == 3


def test_some_repos_failing_is_partly_done(mirror: Mirror, tiny: HubRepo) -> None:
    done = mirror.run("pull", "acme/tiny", "acme/missing")
    assert done.returncode == 8
    assert "acme/missing" in done.stderr
    assert "models--acme--tiny" in done.stdout


def test_a_blob_that_vanished_from_the_disk_is_fetched_again(
    mirror: Mirror, tiny: HubRepo
) -> None:
    result = mirror.pull("acme/tiny")
    name = hashlib.sha256(WEIGHTS).hexdigest()
    mirror.blobs()[name].unlink()
    talk = Talk()
    again = mirror.pull("acme/tiny", talk=talk)
    assert again.bytes_fetched == len(WEIGHTS)
    assert name in mirror.blobs()
    assert any("missing" in note for note in talk.notes)
    assert result.path is not None
    assert (result.path / "model.safetensors").samefile(mirror.blobs()[name])


def test_several_local_and_hub_repos_of_one_name_stay_apart(
    mirror: Mirror, tiny: HubRepo, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("mine")
    mirror.json("add", str(tmp_path / "mine"), "acme/tiny")
    mirror.pull("acme/tiny")
    rows = [json.loads(r) for r in mirror.run("list", "--json").stdout.splitlines()]
    assert {row["upstream"] for row in rows} == {"local", "huggingface"}
    # What is served under the name; nobody forgets one and means the other.
    assert mirror.json("show", "local:acme/tiny")["bytes"] == 4
    assert mirror.json("show", "acme/tiny")["bytes"] == 4
    refused = mirror.run("forget", "acme/tiny")
    assert refused.returncode == 2
    assert "local:acme/tiny or huggingface:acme/tiny" in refused.stderr
    mirror.run("forget", "local:acme/tiny")
    folder = mirror.root / "hub/models--acme--tiny"
    commit = (folder / "refs/main").read_text()
    assert (folder / "snapshots" / commit / "config.json").read_bytes() == b"{}\n"


def test_a_lying_size_in_one_repo_takes_nothing_from_another(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    evil = hub.create_repo("evil/lie")
    evil.commit({"w.bin": Lfs(WEIGHTS)})

    def one_more(rows: list[Json]) -> list[Json]:
        size = len(WEIGHTS) + 1
        for row in rows:
            row |= {"size": size, "lfs": {**row["lfs"], "size": size}}  # type: ignore[dict-item]
        return rows

    evil.tree_override = one_more
    done = mirror.run("pull", "evil/lie")
    assert done.returncode == 6, done.stderr
    assert mirror.json("show", "acme/tiny")["state"] == "complete"
    assert mirror.json("gc")["bytes"] == 0
    assert mirror.json("pull", "acme/tiny", "--offline")["files"] == len(FILES)


def test_a_name_that_changed_hands_shows_its_new_owner(
    mirror: Mirror, tiny: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    tiny.rename("acme/moved")
    newcomer = hub.create_repo("acme/tiny")
    commit = newcomer.commit({"config.json": b"new owner"})
    mirror.pull("acme/moved")
    assert mirror.run("pull", "acme/tiny").returncode == 0
    tiny.commit({"config.json": b"moved on"})
    mirror.pull("acme/moved")
    folder = mirror.root / "hub/models--acme--tiny"
    assert (folder / "refs/main").read_text() == commit
    mirror.json("forget", "acme/moved")
    assert (folder / "snapshots" / commit / "config.json").read_bytes() == b"new owner"


def test_a_dry_run_makes_no_store(mirror: Mirror, tiny: HubRepo) -> None:
    mirror.json("pull", "acme/tiny", "--dry-run")
    assert not mirror.root.exists()


def test_a_commit_may_be_written_in_upper_case(mirror: Mirror, tiny: HubRepo) -> None:
    commit = mirror.pull("acme/tiny").commit.oid
    assert mirror.json("pull", f"acme/tiny@{commit.upper()}")["commit"] == commit
    assert mirror.json("show", f"acme/tiny@{commit.upper()}")["commit"] == commit
