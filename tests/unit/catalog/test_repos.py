"""Repos: their names, former names and identities."""

from datetime import UTC, datetime, timedelta

import pytest

from hubsync.catalog.catalog import Catalog, Publication
from hubsync.catalog.errors import IdentityChangedError
from hubsync.model.errors import ExitCode
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, RepoInfo
from tests.unit.catalog.making import MAIN, oid, plain, publish, repo


def test_a_repo_is_found_by_its_name_and_type(catalog: Catalog) -> None:
    published = publish(catalog, 1, hub_id="id1")
    assert catalog.find_repo(repo()) == published.repo
    assert published.repo.repo == repo()
    assert published.repo.hub_id == "id1"
    assert catalog.find_repo(repo(repo_type=RepoType.DATASET)) is None
    assert catalog.find_repo(repo("org/other")) is None
    assert catalog.find_by_name(RepoType.MODEL, "org/name") == [published.repo]


def test_a_card_comes_back_as_it_was(catalog: Catalog) -> None:
    """Whatever a hub's JSON holds, and in the order of its keys."""
    card = {"z": "a\0b\ud800c", "a": [1, 2.5, None, {"ü": "\u2028"}], "n": 2**70}
    info = RepoInfo(repo(), "id\0\ud800", card)
    commit = Commit(oid(1), "a\0title", "a\ud800message", ("me\0", "ü\ud800"))
    published = catalog.publish(Publication(repo(), info, commit, [], [MAIN]))
    found = catalog.find_repo(repo())
    assert found == published.repo
    assert list(found.card.items()) == list(card.items())
    assert found.hub_id == "id\ufffd\ufffd"
    assert catalog.snapshots(found)[0].commit == Commit(
        oid(1), "a\ufffdtitle", "a\ufffdmessage", ("me\0", "ü\ud800")
    )
    assert publish(catalog, 1, hub_id="id\0\ud800").new_commit is False


def test_a_card_is_kept_when_the_hub_was_not_asked_again(catalog: Catalog) -> None:
    publish(catalog, 1, hub_id="id1")
    again = catalog.publish(Publication(repo(), None, Commit(oid(2)), [], [MAIN]))
    assert again.repo.card == {"id": "org/name"}
    assert again.repo.hub_id == "id1"


def test_a_card_is_the_default_branchs(catalog: Catalog) -> None:
    """A tag that is pulled later does not describe what main holds."""

    def pulled(number: int, ref: RefName | None, **card: object) -> dict[str, object]:
        record = Publication(
            repo(),
            RepoInfo(repo(), "id", card),
            Commit(oid(number)),
            [],
            [ref] if ref else [],
        )
        return catalog.publish(record).repo.card

    tag = RefName.tag("v1")
    assert pulled(1, tag, sha="1", likes=1) == {"sha": "1", "likes": 1}
    assert pulled(2, MAIN, sha="2", likes=2) == {"sha": "2", "likes": 2}
    for number, ref in ((1, tag), (3, None)):
        now = pulled(number, ref, sha=str(number), likes=9, private=True)
        assert now == {"sha": "2", "likes": 9, "private": True}
    assert pulled(4, MAIN, sha="4") == {"sha": "4"}


@pytest.mark.parametrize("name", ["a\0b", "a\ud800", "x' OR '1'='1", "%", "ünï"])
def test_hostile_names_find_nothing(catalog: Catalog, name: str) -> None:
    publish(catalog, 1)
    assert catalog.find_by_name(RepoType.MODEL, name, any_case=True) == []


def test_a_name_in_another_case_is_found_if_asked_for(catalog: Catalog) -> None:
    upper = publish(catalog, 1, of=repo("Org/Name")).repo
    lower = publish(catalog, 2, of=repo("org/name")).repo
    other = publish(catalog, 3, of=RepoId("lab", RepoType.MODEL, "ORG/name")).repo
    assert catalog.find_by_name(RepoType.MODEL, "org/name") == [lower]
    assert catalog.find_by_name(RepoType.MODEL, "org/NAME") == []
    assert catalog.find_by_name(RepoType.MODEL, "org/name", any_case=True) == [
        lower,
        other,
    ]
    assert catalog.find_by_name(RepoType.MODEL, "Org/Name", any_case=True) == [
        upper,
        other,
    ]


def test_a_renamed_repo_keeps_its_history_and_its_old_name(catalog: Catalog) -> None:
    before = publish(catalog, 1, [plain("a", b"1")], hub_id="id1")
    after = publish(catalog, 2, [plain("a", b"2")], of=repo("new/name"), hub_id="id1")
    assert after.repo.id == before.repo.id
    assert after.repo.aliases == ("org/name",)
    assert catalog.find_repo(repo("org/name")) == after.repo
    assert catalog.find_repo(repo("new/name")) == after.repo
    assert [row.commit.oid for row in catalog.snapshots(after.repo)] == [oid(2), oid(1)]
    assert catalog.repos() == [after.repo]
    assert catalog.find_by_name(RepoType.MODEL, "ORG/name", any_case=True) == [
        after.repo
    ]


def test_a_repo_renamed_back_has_its_first_name_again(catalog: Catalog) -> None:
    publish(catalog, 1, hub_id="id1")
    publish(catalog, 2, of=repo("new/name"), hub_id="id1")
    back = publish(catalog, 3, hub_id="id1")
    assert back.repo.repo == repo()
    assert back.repo.aliases == ("new/name",)


def test_a_redirect_renames_a_repo_without_a_hub_id(catalog: Catalog) -> None:
    before = publish(catalog, 1)
    after = publish(catalog, 2, of=repo("new/name"), alias="org/name")
    assert after.repo.id == before.repo.id
    assert after.repo.aliases == ("org/name",)


def test_a_redirect_to_a_new_repo_is_remembered(catalog: Catalog) -> None:
    """``bert-base-uncased`` goes on working offline."""
    row = publish(catalog, 1, of=repo("google/bert"), alias="bert").repo
    assert row.aliases == ("bert",)
    assert catalog.find_repo(repo("bert")) == row


def test_a_redirect_from_a_repo_of_another_identity_renames_nothing(
    catalog: Catalog,
) -> None:
    old = publish(catalog, 1, hub_id="id1").repo
    new = publish(catalog, 2, of=repo("new/name"), hub_id="id2", alias="org/name").repo
    assert new.id != old.id
    assert catalog.find_repo(repo()) == old


def test_a_name_taken_over_belongs_to_its_new_owner(catalog: Catalog) -> None:
    publish(catalog, 1, hub_id="id1")
    renamed = publish(catalog, 2, of=repo("new/name"), hub_id="id1").repo
    newcomer = publish(catalog, 3, hub_id="id2").repo
    assert newcomer.id != renamed.id
    assert catalog.find_repo(repo()) == newcomer
    left = catalog.find_repo(repo("new/name"))
    assert left is not None
    assert left.id == renamed.id
    assert left.aliases == ()


def test_another_identity_under_a_known_name_is_refused(catalog: Catalog) -> None:
    before = publish(catalog, 1, [plain("a", b"1")], hub_id="id1")
    with pytest.raises(IdentityChangedError) as refused:
        publish(catalog, 2, [plain("a", b"evil")], hub_id="id2")
    assert refused.value.exit_code is ExitCode.NOT_ALLOWED
    assert refused.value.hint is not None
    assert "--force" in refused.value.hint
    assert (refused.value.recorded, refused.value.now) == ("id1", "id2")
    assert catalog.find_repo(repo()) == before.repo
    assert len(catalog.snapshots(before.repo)) == 1

    accepted = publish(catalog, 2, hub_id="id2", force=True)
    assert accepted.repo.id == before.repo.id
    assert accepted.repo.hub_id == "id2"
    assert len(catalog.snapshots(before.repo)) == 2


def test_an_identity_belongs_to_one_repo(catalog: Catalog) -> None:
    """A renamed over B, forced: B's row goes on, A's has no identity left."""
    first = publish(catalog, 1, of=repo("org/a"), hub_id="id1").repo
    publish(catalog, 2, of=repo("org/b"), hub_id="id2")
    publish(catalog, 3, of=repo("org/b"), hub_id="id1", force=True)
    found = catalog.find_repo(repo("org/a"))
    assert found is not None
    assert (found.id, found.hub_id) == (first.id, None)


def test_an_identity_is_learnt_later(catalog: Catalog) -> None:
    publish(catalog, 1)
    assert publish(catalog, 2, hub_id="id1").repo.hub_id == "id1"


def test_one_hub_id_on_two_upstreams_is_two_repos(catalog: Catalog) -> None:
    publish(catalog, 1, hub_id="id1")
    other = RepoId("lab", RepoType.MODEL, "org/name")
    publish(catalog, 1, of=other, hub_id="id1")
    assert len(catalog.repos()) == 2
    assert len(catalog.find_by_name(RepoType.MODEL, "org/name")) == 2


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, ["datasets/org/data", "org/Name", "spaces/solo"]),
        ("*", ["datasets/org/data", "org/Name", "spaces/solo"]),
        ("ORG/*", ["datasets/org/data", "org/Name"]),
        ("org/name", ["org/Name"]),
        ("datasets/*", ["datasets/org/data"]),
        ("org/data", ["datasets/org/data"]),
        ("huggingface:spaces/s?lo", ["spaces/solo"]),
        ("lab:*", []),
        ("[", []),
        ("", []),
        ("%", []),
    ],
)
def test_repos_are_listed_by_pattern(
    catalog: Catalog, pattern: str | None, names: list[str]
) -> None:
    publish(catalog, 1, of=repo("solo", RepoType.SPACE))
    publish(catalog, 2, of=repo("org/Name"))
    publish(catalog, 3, of=repo("org/data", RepoType.DATASET))
    found = catalog.repos(pattern=pattern)
    assert [row.repo.path for row in found] == names


def test_touching_moves_only_the_time_of_the_last_sync(catalog: Catalog) -> None:
    before = publish(catalog, 1).repo
    catalog.touch(repo())
    catalog.touch(repo("org/unknown"))
    after = catalog.find_repo(repo())
    assert after is not None
    assert after.last_synced_at > before.last_synced_at
    assert after.recorded_at == before.recorded_at


def test_times_come_back_aware_and_in_utc(catalog: Catalog) -> None:
    at = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC) + timedelta(hours=5)
    east = at.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    commit = Commit(oid(1), committed_at=east)
    published = catalog.publish(Publication(repo(), None, commit, [], [MAIN], at=east))
    found = catalog.find_repo(repo())
    assert found is not None
    (snapshot,) = catalog.snapshots(found)
    assert snapshot == published.snapshot
    for when in (
        found.recorded_at,
        found.last_synced_at,
        snapshot.recorded_at,
        snapshot.commit.committed_at,
        catalog.refs(found)[0].updated_at,
        catalog.ref_log(found)[0].at,
        catalog.repos()[0].recorded_at,
    ):
        assert when is not None
        assert when == at
        assert when.utcoffset() == timedelta(0)
