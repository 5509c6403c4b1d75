"""Whatever changes after a file was read quickly, the next answer knows of it."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.digest import Digest
from hubsync.model.repo import RepoType
from hubsync.serve.library import Library
from tests.unit.serve.mirror import Answer, File, Live, Mirror, oid, serving

NAME = "config.json"
CONFIG = f"/acme/one/resolve/main/{NAME}"
OLD, NEW = b"the first of all", b"what came after it"
WAYS: dict[str, dict[str, str]] = {
    "all": {},
    "range": {"Range": "bytes=4-8"},
    "condition": {"If-None-Match": '"another"'},
}


@pytest.fixture
def warm(own_mirror: Mirror) -> Iterator[tuple[Mirror, Live]]:
    """Every way to the file was gone before."""
    own_mirror.publish("acme/one", {NAME: File(OLD)}, hub_id="a" * 24)
    with serving(own_mirror) as live:
        for _ in range(2):
            assert {one.status for one in ask_all(live)} == {200, 206}
        yield own_mirror, live


def ask_all(live: Live, target: str = CONFIG) -> list[Answer]:
    return [
        live.ask(target, method, headers)
        for method in ("HEAD", "GET")
        for headers in WAYS.values()
    ]


def blob(data: bytes = OLD) -> Digest:
    return Digest.of(data)


def test_conditions_and_ranges_follow_a_ref_that_moved(
    warm: tuple[Mirror, Live],
) -> None:
    mirror, live = warm
    old = live.ask(CONFIG, "HEAD").headers["etag"]
    assert live.get(CONFIG, If_None_Match=old).status == 304
    mirror.publish("acme/one", {NAME: File(NEW)}, commit="two")
    for method in ("HEAD", "GET"):
        assert live.ask(CONFIG, method, {"If-None-Match": old}).status == 200
    got = live.get(CONFIG, Range="bytes=5-8")
    assert (got.status, got.body) == (206, NEW[5:9])
    got = live.get(CONFIG, Range="bytes=5-8", If_Range=old)
    assert (got.status, got.body) == (200, NEW)
    new = live.ask(CONFIG, "HEAD").headers["etag"]
    got = live.get(CONFIG, If_None_Match=f'{old}, W/"x", {new}')
    assert (got.status, got.body, got.headers["etag"]) == (304, b"", new)
    assert live.get(CONFIG, Range="bytes=99-").status == 416


def test_another_process_is_believed_as_well(warm: tuple[Mirror, Live]) -> None:
    mirror, live = warm
    other = Mirror(mirror.folder)
    try:
        for number in range(10):
            text = b"by another, %d" % number
            other.publish("acme/one", {NAME: File(text)}, commit=str(number))
            assert [one.body for one in ask_all(live)[3:]] == [text, text[4:9], text]
    finally:
        other.close()


def test_a_repo_of_a_new_name_is_found_by_both(warm: tuple[Mirror, Live]) -> None:
    mirror, live = warm
    mirror.publish("acme/two", {NAME: File(OLD)}, hub_id="a" * 24)
    for one in ask_all(live):
        assert one.status == 307
        assert one.headers["location"].endswith(f"/acme/two/resolve/main/{NAME}")
    for one in ask_all(live, CONFIG.replace("one", "two")):
        assert one.status in (200, 206)
    # And the old name may be given to somebody else.
    mirror.publish("acme/one", {NAME: File(NEW)}, commit="new", hub_id="b" * 24)
    assert live.get(CONFIG).body == NEW
    assert live.get(CONFIG.replace("one", "two")).body == OLD


def forget_repo(mirror: Mirror, row: RepoRow, _: SnapshotRow) -> None:
    mirror.catalog.forget(row, None)


def forget_commit(mirror: Mirror, row: RepoRow, snapshot: SnapshotRow) -> None:
    mirror.publish("acme/one", {"other": File(b"")}, commit="two", refs=())
    mirror.catalog.forget(row, snapshot)


def lose_entry(mirror: Mirror, _: RepoRow, __: SnapshotRow) -> None:
    mirror.publish("acme/one", {"other": File(b"")}, commit="two")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (forget_repo, "RepoNotFound"),
        (forget_commit, "RevisionNotFound"),
        (lose_entry, "EntryNotFound"),
    ],
)
def test_what_is_gone_is_gone(
    warm: tuple[Mirror, Live],
    change: Callable[[Mirror, RepoRow, SnapshotRow], None],
    code: str,
) -> None:
    mirror, live = warm
    row = mirror.library().repo(RepoType.MODEL, "acme/one")
    assert row
    snapshot = mirror.library().snapshot(row, "main")
    assert snapshot
    change(mirror, row, snapshot)
    assert {(one.status, one.code) for one in ask_all(live)} == {(404, code)}


def test_a_commit_keeps_its_files_when_the_ref_moves_on(
    warm: tuple[Mirror, Live],
) -> None:
    mirror, live = warm
    pinned = CONFIG.replace("main", oid("one"))
    assert live.get(pinned).body == OLD
    mirror.publish("acme/one", {NAME: File(NEW)}, commit="two")
    assert (live.get(pinned).body, live.get(CONFIG).body) == (OLD, NEW)


def test_lost_and_found_again(warm: tuple[Mirror, Live]) -> None:
    mirror, live = warm
    (held,) = mirror.catalog.all_held()
    for _ in range(2):
        assert mirror.catalog.mark_lost(blob())
        assert {one.status for one in ask_all(live)} == {503}
        mirror.catalog.record_blobs([held])
        assert {one.status for one in ask_all(live)} == {200, 206}


def test_what_was_not_held_is_once_it_is(own_mirror: Mirror) -> None:
    own_mirror.publish("acme/one", {NAME: File(OLD, lfs=True, held=False)})
    with serving(own_mirror) as live:
        for _ in range(2):
            assert {one.status for one in ask_all(live)} == {404}
        own_mirror.publish("acme/two", {NAME: File(OLD, lfs=True)})
        assert {one.status for one in ask_all(live)} == {200, 206}


def _no_file(path: Path) -> None:
    path.mkdir()


def _no_way(path: Path) -> None:
    path.symlink_to(path)


def _no_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(OLD)


@pytest.mark.parametrize("damage", [_no_file, _no_way, _no_folder])
def test_a_blob_that_cannot_be_read_is_a_503_and_reported(
    warm: tuple[Mirror, Live], damage: Callable[[Path], None]
) -> None:
    mirror, live = warm
    path = mirror.blobs.path(blob())
    path.unlink()
    damage(path)
    assert {one.status for one in ask_all(live)} == {503}
    live.wait_for("recorded blob")


def _by_one(library: Library, repo_type: RepoType) -> list[tuple[RepoRow, SnapshotRow]]:
    """As `Library.heads`, asked repo by repo."""
    chosen: dict[str, RepoRow] = {}
    for row in library.catalog.repos():
        if row.repo.repo_type is repo_type:
            first = library.repo(repo_type, row.repo.name)
            assert first
            chosen[row.repo.name] = first
    found = [(row, library.snapshot(row, None)) for row in chosen.values()]
    return [(row, head) for row, head in found if head]


@pytest.mark.parametrize("seed", range(5))
def test_heads_are_what_each_repo_says_by_itself(own_mirror: Mirror, seed: int) -> None:
    choose = random.Random(seed)
    library = own_mirror.library()
    for step in range(40):
        own_mirror.publish(
            f"acme/{choose.choice('abcde')}",
            {"a": File(b"%d" % step)},
            repo_type=choose.choice(list(RepoType)),
            upstream=choose.choice(["local", "huggingface", "elsewhere"]),
            commit=f"{seed} {step}",
            refs=choose.choice(
                [("refs/heads/main",), ("refs/heads/z",), ("refs/tags/main",), ()]
            ),
        )
        if choose.random() < 0.2:
            gone = choose.choice(own_mirror.catalog.repos())
            own_mirror.catalog.forget(gone, None)
        for repo_type in RepoType:
            heads = library.heads(repo_type)
            expected = _by_one(library, repo_type)
            assert {row.id: (row, head) for row, head in heads} == {
                row.id: (row, head) for row, head in expected
            }
            assert len(heads) == len(expected)


def test_a_card_is_read_when_its_file_has_come(own_mirror: Mirror) -> None:
    readme = b"---\nlicense: mit\n---\n"
    own_mirror.publish("acme/one", {"README.md": File(readme, held=False)})
    with serving(own_mirror) as live:
        assert "cardData" not in live.get("/api/models/acme/one").json()
        own_mirror.publish("acme/two", {"README.md": File(readme)}, commit="two")
        assert live.get("/api/models/acme/one").json()["cardData"]["license"] == "mit"
        (listed,) = live.get(
            "/api/models?filter=license:mit&author=acme&limit=1"
        ).json()
        assert "license:mit" in listed["tags"]
