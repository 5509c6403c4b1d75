"""A repo's record is written anew from a catalog that may be an old one."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.record import RepoRecord
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName

REPO = RepoId("huggingface", RepoType.MODEL, "org/name")
MAIN, TAG = RefName.branch("main"), RefName.tag("v1")


def record(
    commits: Sequence[str], hub_id: str | None = "id", **refs: str
) -> RepoRecord:
    named = {"main": MAIN, "tag": TAG}
    pointing = {named[name]: oid for name, oid in refs.items()}
    return RepoRecord(REPO, hub_id, refs=pointing, commits=tuple(commits))


def test_what_the_catalog_never_heard_of_keeps_its_place_and_its_refs() -> None:
    before = record("abcd", main="d", tag="c")
    now = record("abe", main="e").keeping(before, "abcd")
    assert "".join(now.commits) == "abcde"
    assert now.refs == {MAIN: "e", TAG: "c"}


def test_what_was_forgotten_is_not_kept() -> None:
    now = record("ab", main="b").keeping(record("abc", tag="c"), recorded="ab")
    assert now == record("ab", main="b")


def test_a_ref_that_the_catalog_has_dropped_is_dropped() -> None:
    before = record("abc", main="c", tag="b")
    assert record("ab", main="b").keeping(before, "abc").refs == {MAIN: "b"}


def test_what_another_repo_of_that_name_had_is_not_kept() -> None:
    before = record("abc", hub_id="other", tag="c")
    assert record("d", main="d").keeping(before, "abcd") == record("d", main="d")


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.data())
def test_both_orders_hold(before: list[str], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from(before))) if before else set()
    now = [oid for oid in before if oid not in lost] + ["x", "y"]
    merged = record(now).keeping(record(before), "abcdefghxy").commits
    assert [oid for oid in merged if oid in before] == before
    assert [oid for oid in merged if oid in now] == now
    assert len(set(merged)) == len(merged)
