"""What the order of system calls must be: read off a trace, no power cut needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubsync.selftest.checks import Violation
from tests.crash.trace import Call

_SYNCS = ("fsync", "fdatasync", "syncfs")
_WRITES = ("write", "pwrite64", "pwritev", "splice", "ftruncate")
_RENAMES = ("rename", "renameat", "renameat2")
# After an error of one of these the thing it hit may not be acknowledged, and
# what an operation acknowledges is all that it did.
_FATAL = (*_SYNCS, *_WRITES, *_RENAMES)
_NAMES = (*_RENAMES, "link", "linkat", "mkdir", "mkdirat")
_ACKNOWLEDGES = ("stored", "published", "forgot", "collected")


def nothing_after_an_error(calls: Sequence[Call], folder: str) -> Iterator[Violation]:
    """I10: no acknowledgement after an I/O error, no second fsync after a failed one.

    SQLite's files are left out of the second: it syncs its log again when it
    closes, after it has taken the failed transaction out of it.  And it goes on
    when a folder cannot be synced, as on some systems none can be.
    """
    for at, call in enumerate(calls):
        if not call.injected or not call.changes(folder):
            continue
        if call.name == "fdatasync" and call.paths[0] == f"{folder}/store":
            continue  # SQLite's; ours are fsync
        later = calls[at + 1 :]
        for one in later:
            if call.name in _FATAL and one.says in _ACKNOWLEDGES:
                yield Violation("I10", f"{one.says!r} was said after {call.text}")
        if call.name not in _SYNCS or "catalog.db" in call.paths[0]:
            continue
        for one in later:
            if one.name in _SYNCS and one.paths[0] == call.paths[0]:
                yield Violation("I10", f"synced again: {one.text} after {call.text}")


def synced_before_said(calls: Sequence[Call], folder: str) -> Iterator[Violation]:
    """F11: a blob's bytes are synced before its name, its name before it is said."""
    order = _Order(f"{folder}/store/blobs/")
    for call in calls:
        if call.succeeded:
            yield from order.note(call)


@dataclass(slots=True)
class _Order:
    """What a power cut would take just now."""

    shelf: str
    dirty: set[str] = field(default_factory=set)  # files whose bytes are not synced
    unsynced: dict[str, str] = field(default_factory=dict)  # folder -> a name in it

    def note(self, call: Call) -> Iterator[Violation]:
        if call.name in _WRITES:
            self.dirty.add(call.paths[-1])  # of a splice: where to
        elif call.name == "syncfs":
            self.dirty.clear()
            self.unsynced.clear()
        elif call.name in _SYNCS:
            self.dirty.discard(call.paths[0])
            self.unsynced.pop(call.paths[0], None)
        elif call.says == "stored":
            for text in self.unsynced.values():
                yield Violation("F11", f"said before its folder was synced: {text}")
            self.unsynced.clear()
        elif call.name in _NAMES and call.paths[-1].startswith(self.shelf):
            if call.paths[0] in self.dirty:
                yield Violation("F11", f"named before it was synced: {call.text}")
            self.unsynced[str(Path(call.paths[-1]).parent)] = call.text
