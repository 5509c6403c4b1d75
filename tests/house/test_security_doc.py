"""docs/security.md promises a test for each threat: here it has to keep that."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DOC = PROJECT / "docs" / "security.md"
_ROW = re.compile(r"^\| (S\d+) \| .+ \| .+ \| `(test_\w+)` \|$", re.MULTILINE)
_TEST = re.compile(r"^ *(?:async )?def (test_((?:s\d+_)+)\w+)\(", re.MULTILINE)


def rows() -> dict[str, str]:
    """The test that is named for each row."""
    found = _ROW.findall(DOC.read_text())
    assert len(dict(found)) == len(found), "a row stands there twice"
    return dict(found)


def named_tests() -> dict[str, set[str]]:
    """The rows that the name of each test begins with."""
    return {
        name: set(numbers.upper().strip("_").split("_"))
        for path in (PROJECT / "tests").rglob("test_*.py")
        for name, numbers in _TEST.findall(path.read_text())
    }


def test_each_threat_has_the_test_that_is_named() -> None:
    have, named = named_tests(), rows()
    assert len(named) >= 40
    missing = {
        row: name for row, name in named.items() if row not in have.get(name, ())
    }
    assert not missing


def test_each_test_of_a_threat_has_its_row() -> None:
    tested = set[str]().union(*named_tests().values())
    assert tested == rows().keys()


def test_no_line_of_the_table_is_passed_over() -> None:
    lines = [one for one in DOC.read_text().splitlines() if one.startswith("| S")]
    assert len(lines) == len(rows())
