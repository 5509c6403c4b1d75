"""Commits and refs: recorded, resolved, forgotten."""

import pytest

from hubsync.catalog.catalog import Catalog, Publication, RefMove
from hubsync.model.digest import InvalidDigestError
from hubsync.model.errors import IntegrityError
from hubsync.model.paths import HostilePathError
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit
from tests.unit.catalog.making import (
    MAIN,
    WHEN,
    held,
    lfs,
    oid,
    plain,
    publish,
    repo,
)

V1 = RefName.tag("v1")


def test_a_published_commit_is_there_with_its_ref(catalog: Catalog) -> None:
    published = publish(catalog, 1, [plain("a", b"12"), lfs("b", b"345")])
    assert published.new_commit
    snapshot = published.snapshot
    assert (snapshot.files, snapshot.bytes, snapshot.seq) == (2, 5, 1)
    assert snapshot.commit == Commit(oid(1), "commit 1", "", (), WHEN)
    assert catalog.snapshots(published.repo) == [snapshot]
    (ref,) = catalog.refs(published.repo)
    assert (ref.name, ref.commit) == (MAIN, oid(1))
    assert [(m.name, m.old, m.new) for m in published.moved] == [(MAIN, None, oid(1))]


def test_publishing_again_changes_nothing(catalog: Catalog) -> None:
    tree = [plain("a", b"1")]
    first = publish(catalog, 1, tree)
    second = publish(catalog, 1, tree)
    assert not second.new_commit
    assert second.moved == []
    assert second.snapshot == first.snapshot


def test_publishing_again_may_add_a_ref(catalog: Catalog) -> None:
    tree = [plain("a", b"1")]
    publish(catalog, 1, tree)
    again = publish(catalog, 1, tree, refs=[MAIN, V1, V1])
    assert [move.name for move in again.moved] == [V1]


def test_a_commit_with_another_tree_is_refused(catalog: Catalog) -> None:
    row = publish(catalog, 1, [plain("a", b"1"), plain("b", b"1")])
    for tree in (
        [plain("a", b"1")],
        [plain("a", b"1"), plain("b", b"2")],
        [plain("a", b"1"), lfs("b", b"1")],
        [plain("a", b"1"), plain("b", b"1"), plain("c", b"1")],
    ):
        with pytest.raises(IntegrityError, match=r"'[bc]'"):
            publish(catalog, 1, tree, refs=[V1])
    assert [ref.name for ref in catalog.refs(row.repo)] == [MAIN]


def test_a_commit_first_met_bare_gets_its_title_later(catalog: Catalog) -> None:
    catalog.publish(Publication(repo(), None, Commit(oid(1)), [], []))
    again = publish(catalog, 1)
    assert again.snapshot.commit.title == "commit 1"
    assert again.snapshot.commit.committed_at == WHEN
    bare = catalog.publish(Publication(repo(), None, Commit(oid(1)), [], []))
    assert bare.snapshot.commit.title == "commit 1"


@pytest.mark.parametrize("bad", ["", "main", "A" * 40, "a" * 39, "a" * 41, "a" * 64])
def test_a_commit_has_forty_hex_digits(catalog: Catalog, bad: str) -> None:
    with pytest.raises(InvalidDigestError):
        catalog.publish(Publication(repo(), None, Commit(bad), [], []))
    assert catalog.repos() == []


@pytest.mark.parametrize("path", ["a\0b", "a\ud800", "../a"])
def test_a_path_no_database_takes_is_refused_whole(catalog: Catalog, path: str) -> None:
    if path == "../a":  # the listing's reader refuses it; SQL does not mind
        assert publish(catalog, 1, [plain(path, b"1")]).new_commit
        return
    with pytest.raises(HostilePathError):
        publish(catalog, 1, [plain("good", b"1"), plain(path, b"1")])
    assert catalog.repos() == []


def test_a_path_listed_twice_is_refused(catalog: Catalog) -> None:
    with pytest.raises(HostilePathError, match="twice"):
        publish(catalog, 1, [plain("a", b"1"), plain("a", b"2")])


def test_the_ref_log_shows_where_a_ref_pointed_before(catalog: Catalog) -> None:
    publish(catalog, 1)
    publish(catalog, 2)
    row = publish(catalog, 1).repo  # a force-push back
    seen = [(m.name, m.old, m.new) for m in catalog.ref_log(row)]
    assert seen == [
        (MAIN, oid(2), oid(1)),
        (MAIN, oid(1), oid(2)),
        (MAIN, None, oid(1)),
    ]
    newest = catalog.ref_log(row)[0]
    assert isinstance(newest, RefMove)
    assert newest.at.tzinfo is not None


def test_resolving_follows_the_order_people_expect(catalog: Catalog) -> None:
    first = publish(catalog, 1, refs=[MAIN, RefName("refs/pr/1")])
    second = publish(catalog, 2, refs=[V1, RefName.branch("dev/x")])
    # A branch may have the name of the beginning of a commit: it wins.
    third = publish(catalog, 3, refs=[RefName.branch(oid(1)[:10])])
    row = first.repo
    for revision, snapshot in {
        oid(1): first,
        "main": first,
        "refs/heads/main": first,
        "refs/pr/1": first,
        "HEAD": first,
        oid(1)[:7]: first,
        oid(1)[:10]: third,
        "v1": second,
        "refs/tags/v1": second,
        "dev/x": second,
        oid(2)[:39]: second,
    }.items():
        assert catalog.resolve(row, revision) == snapshot.snapshot, revision
    for revision in (
        "nope",
        "refs/heads/v1",
        oid(9),
        oid(9)[:8],
        oid(1)[:6],
        oid(1)[:7].upper() + "G",
        "refs/heads/",
        "",
        "ma%",
        "a\0b",
        "\ud800",
        "' OR 1=1 --",
    ):
        assert catalog.resolve(row, revision) is None, revision


def test_a_full_commit_wins_over_a_ref_of_that_name(catalog: Catalog) -> None:
    first = publish(catalog, 1)
    publish(catalog, 2, refs=[RefName.branch(oid(1))])
    assert catalog.resolve(first.repo, oid(1)) == first.snapshot


def test_an_ambiguous_short_commit_is_no_commit(catalog: Catalog) -> None:
    one, two = "abcdef0" + "1" * 33, "abcdef0" + "2" * 33
    catalog.publish(Publication(repo(), None, Commit(one), [], []))
    row = catalog.publish(Publication(repo(), None, Commit(two), [], [])).repo
    assert catalog.resolve(row, "abcdef0") is None
    found = catalog.resolve(row, "abcdef01")
    assert found is not None
    assert found.commit.oid == one


def test_head_is_main_else_the_first_branch_else_the_newest(catalog: Catalog) -> None:
    row = publish(catalog, 1, refs=[V1]).repo
    newest = publish(catalog, 2, refs=[RefName("refs/pr/3")])
    assert catalog.resolve(row, "HEAD") == newest.snapshot
    trunk = publish(catalog, 3, refs=[RefName.branch("trunk")])
    publish(catalog, 4, refs=[RefName.branch("zoo")])
    assert catalog.resolve(row, "HEAD") == trunk.snapshot
    main = publish(catalog, 5)
    assert catalog.resolve(row, "HEAD") == main.snapshot


def test_repos_do_not_see_each_others_commits(catalog: Catalog) -> None:
    one = publish(catalog, 1, [plain("a", b"1")], of=repo("org/one"))
    two = publish(catalog, 2, [plain("b", b"2")], of=repo("org/two"))
    assert catalog.resolve(one.repo, oid(2)) is None
    same = publish(catalog, 1, [plain("z", b"3")], of=repo("org/two"))
    assert [entry.entry.path for entry in catalog.entries(same.snapshot)] == ["z"]
    assert [entry.entry.path for entry in catalog.entries(one.snapshot)] == ["a"]
    assert two.snapshot.seq == 1


def test_forgetting_a_commit_takes_its_refs_but_not_the_log(catalog: Catalog) -> None:
    one = publish(catalog, 1, [plain("a", b"1")])
    two = publish(catalog, 2, [plain("a", b"2")], refs=[MAIN, V1])
    gone = catalog.forget(two.repo, two.snapshot)
    assert (gone.commits, gone.refs, gone.whole_repo) == ((oid(2),), (MAIN, V1), False)
    assert catalog.refs(one.repo) == []
    assert catalog.resolve(one.repo, oid(2)) is None
    assert catalog.resolve(one.repo, "HEAD") == one.snapshot
    assert oid(2) in {move.new for move in catalog.ref_log(one.repo)}
    again = catalog.forget(two.repo, two.snapshot)
    assert (again.commits, again.refs) == ((), ())


def test_a_forgotten_commit_can_be_recorded_again(catalog: Catalog) -> None:
    one = publish(catalog, 1, [plain("a", b"1")])
    catalog.forget(one.repo, one.snapshot)
    again = publish(catalog, 1, [plain("a", b"other")])
    assert again.new_commit
    assert catalog.entries(one.snapshot) == []
    assert catalog.entry(one.snapshot, "a") is None
    assert catalog.state(one.snapshot).files == 0


def test_forgetting_a_repo_leaves_only_the_others(catalog: Catalog) -> None:
    publish(catalog, 1, [plain("a", b"1"), lfs("b", b"2")], refs=[V1], alias="old/name")
    row = publish(catalog, 2, [plain("a", b"2")], alias="older/name").repo
    other = publish(catalog, 3, [plain("a", b"1")], of=repo("org/other"))
    catalog.record_blobs([held(b"1"), held(b"2", as_lfs=True)])
    gone = catalog.forget(row, None)
    assert gone.repo == row
    assert gone.commits == tuple(sorted([oid(1), oid(2)]))
    assert gone.refs == (MAIN, V1)
    assert gone.whole_repo
    assert [found.repo for found in catalog.repos()] == [repo("org/other")]
    assert catalog.find_repo(repo("old/name")) is None
    assert catalog.entries(other.snapshot)[0].held
    assert list(catalog.unneeded_blobs()) == [held(b"2", as_lfs=True)]
    assert catalog.forget(row, None).commits == ()
    # A repo that comes back is another row: nobody's old row means it.
    assert publish(catalog, 1).repo.id not in (row.id, other.repo.id)


@pytest.mark.parametrize(
    "names",
    [
        ("refs/heads/a", "refs/heads/main"),
        ("refs/heads/a", "refs/tags/main"),
        ("refs/heads/c", "refs/heads/b"),
        ("refs/tags/v1", "refs/tags/v2"),
        (),
    ],
)
def test_heads_are_what_each_head_resolves_to(
    catalog: Catalog, names: tuple[str, ...]
) -> None:
    publish(catalog, "another", of=repo("org/another"))
    for which, name in enumerate(names):
        publish(catalog, which, refs=[RefName(name)])
    publish(catalog, "last", refs=[])
    heads = catalog.heads()
    assert {row.id: catalog.resolve(row, "HEAD") for row in catalog.repos()} == heads
    assert len(heads) == 2
