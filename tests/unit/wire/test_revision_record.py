"""Records as bytes: what goes in comes out, and what is not ours is refused."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.digest import Digest, GitOid
from hubsync.model.record import RecordDamagedError, RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, HeldEntry, TreeEntry
from hubsync.wire.revision_record import (
    FORMAT,
    emit_repo,
    emit_revision,
    parse_repo_record,
    parse_revision,
)

HEX = "0123456789abcdef"
OIDS = st.text(HEX, min_size=40, max_size=40)
DIGESTS = st.text(HEX, min_size=64, max_size=64).map(Digest)
TEXTS = st.text(max_size=20)  # lone surrogates and NUL among them
TIMES = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))]),
)
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}/[A-Z](-?[a-z0-9]){0,4}x", fullmatch=True)
REPOS = st.builds(
    RepoId, st.sampled_from(["huggingface", "local"]), st.sampled_from(RepoType), NAMES
)
SEGMENTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\"),
    min_size=1,
    max_size=8,
).filter(lambda text: text not in (".", ".."))
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
HUB_IDS = st.none() | TEXTS


@st.composite
def held_entries(draw: st.DrawFn, path: str) -> HeldEntry:
    size = draw(st.integers(0, 2**50))
    git_oid = GitOid(draw(OIDS))
    if draw(st.booleans()):
        digest = draw(DIGESTS)
        xet_hash = draw(st.none() | DIGESTS.map(lambda one: one.hex))
        return HeldEntry(TreeEntry(path, size, git_oid, digest, xet_hash), digest)
    return HeldEntry(TreeEntry(path, size, git_oid), draw(st.none() | DIGESTS))


@st.composite
def revisions(draw: st.DrawFn) -> RevisionRecord:
    paths = sorted(draw(st.sets(PATHS, max_size=5)))
    return RevisionRecord(
        draw(REPOS),
        draw(HUB_IDS),
        Commit(
            draw(OIDS),
            draw(TEXTS),
            draw(TEXTS),
            tuple(draw(st.lists(TEXTS, max_size=3))),
            draw(st.none() | TIMES),
        ),
        draw(TIMES),
        tuple(draw(held_entries(path)) for path in paths),
    )


REPO_RECORDS = st.builds(
    RepoRecord,
    repo=REPOS,
    hub_id=HUB_IDS,
    aliases=st.sets(NAMES, max_size=3).map(sorted).map(tuple),
    refs=st.dictionaries(
        st.sampled_from(["main", "v1", "a-b"]).map(RefName.branch), OIDS, max_size=3
    ),
    card=st.dictionaries(TEXTS, st.none() | TEXTS | st.integers(), max_size=3),
    commits=st.lists(OIDS, max_size=3).map(tuple),
    recorded_at=st.none() | TIMES,
)


@given(revisions())
def test_a_revision_comes_back_as_it_was(record: RevisionRecord) -> None:
    data = emit_revision(record)
    assert parse_revision(data, "here") == record
    assert emit_revision(parse_revision(data, "here")) == data


@given(REPO_RECORDS)
def test_a_repo_comes_back_as_it_was(record: RepoRecord) -> None:
    data = emit_repo(record)
    assert parse_repo_record(data, "here") == record
    assert emit_repo(parse_repo_record(data, "here")) == data


@given(revisions(), st.data())
def test_one_wrong_byte_never_gives_another_record(
    record: RevisionRecord, data: st.DataObject
) -> None:
    good = emit_revision(record)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    try:
        assert parse_revision(bytes(bad), "here") == record  # in gzip's own header
    except RecordDamagedError as error:
        assert "here" in str(error)  # noqa: PT017 - either is right


@given(st.binary(max_size=200))
def test_foreign_bytes_are_damage_and_nothing_else(data: bytes) -> None:
    for parse in (parse_revision, parse_repo_record):
        with pytest.raises(RecordDamagedError, match="here"):
            parse(data, "here")
    with pytest.raises(RecordDamagedError):
        parse_revision(gzip.compress(data), "here")


def revision(**changes: Any) -> bytes:
    record = RevisionRecord(
        RepoId("huggingface", RepoType.MODEL, "org/name"),
        "id",
        Commit("a" * 40),
        datetime(2026, 1, 2, tzinfo=UTC),
        (HeldEntry(TreeEntry("a.txt", 1, GitOid("b" * 40)), None),),
    )
    value = json.loads(gzip.decompress(emit_revision(record)))
    return gzip.compress(json.dumps({**value, **changes}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"format": FORMAT + 1},
        {"name": "../../etc"},
        {"recorded_at": "2026-01-02T00:00:00"},
        {"entries": [["../a", 1, "b" * 40, None, None]]},
        {"entries": [["/etc/passwd", 1, "b" * 40, None, None]]},
        {"entries": [["a/./b", 1, "b" * 40, None, None]]},
        {"entries": [["a", 1, "b" * 39, None, None]]},
        {"entries": [["a", 1]]},
        {"entries": None},
        {"xet_hashes": ["a" * 64]},
        {"xet_hashes": 5},
        {"commit": {}},
    ],
)
def test_a_record_that_says_what_none_may_is_refused(changes: dict[str, Any]) -> None:
    assert parse_revision(revision(), "here").commit.oid == "a" * 40
    with pytest.raises(RecordDamagedError):
        parse_revision(revision(**changes), "here")


XET = ("a" * 64, None, "c" * 64)


def with_xet(hashes: Sequence[str | None]) -> RevisionRecord:
    entries = [
        HeldEntry(TreeEntry(f"{i}.bin", 1, GitOid("b" * 40), digest, xet), digest)
        for i, xet in enumerate(hashes)
        for digest in [Digest(f"{i:064}")]
    ]
    plain = HeldEntry(TreeEntry("1.txt", 1, GitOid("b" * 40)), None)
    return RevisionRecord(
        RepoId("huggingface", RepoType.MODEL, "org/name"),
        "id",
        Commit("a" * 40),
        datetime(2026, 1, 2, tzinfo=UTC),
        tuple(sorted([*entries, plain], key=lambda one: one.entry.path)),
    )


def test_xet_hashes_come_back_with_the_files_they_are_of() -> None:
    got = parse_revision(emit_revision(with_xet(XET)), "here")
    # Equality of entries leaves them out.
    hashes = {one.entry.path: one.entry.xet_hash for one in got.entries}
    assert hashes == {
        "0.bin": XET[0],
        "1.bin": None,
        "1.txt": None,
        "2.bin": XET[2],
    }


def test_without_xet_hashes_a_record_has_the_bytes_that_it_always_had() -> None:
    value = json.loads(gzip.decompress(emit_revision(with_xet([None, None]))))
    assert "xet_hashes" not in value
    with_some = json.loads(gzip.decompress(emit_revision(with_xet(["a" * 64, None]))))
    assert with_some.pop("xet_hashes") == ["a" * 64, None]
    assert with_some == value


@pytest.mark.parametrize(
    "hashes", [[], [*XET, None], [*XET[:2], "A" * 64], [*XET[:2], 5], ["x"] * 3]
)
def test_xet_hashes_that_are_not_its_files_are_refused(hashes: list[Any]) -> None:
    value = json.loads(gzip.decompress(emit_revision(with_xet(XET))))
    data = gzip.compress(json.dumps({**value, "xet_hashes": hashes}).encode())
    with pytest.raises(RecordDamagedError):
        parse_revision(data, "here")
