"""What came before a commit, as far as it can be told from where refs have pointed."""

from collections.abc import Iterable, Iterator

from hubsync.catalog.rows import RefMove
from hubsync.model.revision import MAIN, RefName

_Line = dict[str, str | None]  # by commit: where the ref pointed when it came there


def history_of(moves: Iterable[RefMove], oid: str) -> list[str]:
    """*oid*, then the commits before it, newest first.  *moves*: newest first.

    Which commit is another one's parent is not recorded: what the default branch
    has pointed to before is its past, or what another ref has.  A commit that no
    ref has ever pointed to has none that we know of.
    """
    lines: dict[RefName, _Line] = {}
    for move in reversed([*moves]):
        line = lines.setdefault(move.name, {})
        if move.old is not None:
            line.setdefault(move.old, None)
        # Set back to what it was once, a branch is not younger for it.
        line.setdefault(move.new, move.old)
    if oid in lines.get(MAIN, {}):
        return [*_past(lines[MAIN], oid)]
    return max(
        (list(_past(line, oid)) for line in lines.values()), key=len, default=[oid]
    )


def _past(line: _Line, oid: str | None) -> Iterator[str]:
    while oid is not None:
        yield oid
        oid = line.get(oid)
