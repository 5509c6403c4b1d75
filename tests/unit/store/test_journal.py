"""A journal says what is there, or less: never more."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.spans import Span, Spans
from hubsync.store import journal as journal_module
from hubsync.store.journal import Journal, journal_of, read_journal

span = st.tuples(st.integers(0, 10**12), st.integers(0, 10**6)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.journal"


def offsets_within(part: Spans, whole: Spans) -> bool:
    return Spans([*part, *whole]) == whole


def written(path: Path, durable: list[Span], noted: list[Span]) -> None:
    journal = Journal(path, Spans(durable), Spans(durable))
    for start, stop in noted:
        journal.note(start, stop)
    journal.close()


def after_a_reboot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_module, "boot_id", lambda: "another run of the kernel")


def test_it_stands_beside_the_partial(tmp_path: Path) -> None:
    assert journal_of(tmp_path / "sha256-ab") == tmp_path / "sha256-ab.journal"


def test_none_is_not_the_same_as_an_empty_one(path: Path) -> None:
    assert read_journal(path) is None
    Journal(path, Spans()).close()
    assert read_journal(path) == Spans()


@given(st.lists(span), st.lists(span))
def test_it_gives_back_what_was_noted(
    tmp_path_factory: pytest.TempPathFactory, durable: list[Span], noted: list[Span]
) -> None:
    path = tmp_path_factory.mktemp("j") / "x.journal"
    written(path, durable, noted)

    assert read_journal(path) == Spans(durable + noted)
    with pytest.MonkeyPatch.context() as patch:
        after_a_reboot(patch)
        assert read_journal(path) == Spans(durable)


@given(st.lists(span, max_size=4), st.lists(span, max_size=4), st.data())
def test_a_torn_one_says_less_and_never_something_else(
    tmp_path_factory: pytest.TempPathFactory,
    durable: list[Span],
    noted: list[Span],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("j") / "x.journal"
    written(path, durable, noted)
    text = path.read_bytes()
    cut = data.draw(st.integers(0, len(text)))
    path.write_bytes(text[:cut])

    there = read_journal(path)
    assert there is not None
    assert offsets_within(there, Spans(durable + noted))


@given(st.lists(span, min_size=1, max_size=4), st.data())
def test_a_byte_that_flips_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, noted: list[Span], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("j") / "x.journal"
    written(path, [], noted)
    text = bytearray(path.read_bytes())
    text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(text)

    there = read_journal(path)
    assert there is not None
    assert offsets_within(there, Spans(noted))


def test_what_follows_a_bad_line_is_not_believed(path: Path) -> None:
    written(path, [], [(0, 10), (20, 30), (40, 50)])
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace("20", "19")
    path.write_text("".join(lines))

    assert read_journal(path) == Spans([(0, 10)])


def test_a_kernel_that_does_not_tell_is_never_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_BOOT_ID", path.with_name("not there"))
    written(path, [(0, 10)], [(10, 20)])

    assert read_journal(path) == Spans([(0, 10)])


def test_one_of_another_version_says_nothing(path: Path) -> None:
    written(path, [(0, 10)], [])
    path.write_text(path.read_text().replace("hubsync-journal 1", "hubsync-journal 2"))

    assert read_journal(path) == Spans()


def test_nonsense_is_nothing(path: Path) -> None:
    path.write_bytes(b"\xff\x00\n" * 9)
    assert read_journal(path) == Spans()


def test_the_one_before_stays_until_the_new_one_is_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, [(0, 10)], [])

    def fail(fd: int, text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "_write", fail)
        with pytest.raises(OSError, match="No space"):
            Journal(path, Spans([(0, 99)]), Spans())

    assert read_journal(path) == Spans([(0, 10)])


def test_closing_twice_is_harmless(path: Path) -> None:
    journal = Journal(path, Spans())
    journal.close()
    journal.close()
