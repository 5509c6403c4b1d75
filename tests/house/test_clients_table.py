"""The table of docs/clients.md names the tests that are there, and all of them."""

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.table import BEGIN, END, Row, differences, folded, rows_of, with_rows

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "clients.md"
PINNED = re.compile(r"^[\w-]+==(\S+)$", re.MULTILINE)
PINNED_JS = re.compile(r'"@huggingface/[\w-]+@(\S+)"')
ROW = Row("curl", "8.0", "`curl -O`", "works", "test_curl.py::test_it")


def test_each_marked_test_has_a_row_and_each_row_its_test() -> None:
    """Only the versions may differ; `make clients-table` writes it anew."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.e2e.table"),
            *("-p", "no:cacheprovider", "-qq", "--collect-only", "-m", "table_row"),
            *("tests/e2e", "--clients-table", PAGE),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"run `make clients-table`:\n{done.stdout[-4000:]}"


def test_what_is_pinned_is_what_the_table_says_was_run() -> None:
    table = " ".join(row.version for row in rows_of(PAGE.read_text("utf-8")))
    versions = PINNED_JS.findall((PROJECT / "tests/clients/install.sh").read_text())
    for file in sorted((PROJECT / "tests/clients").glob("*.txt")):
        versions += PINNED.findall(file.read_text())
    assert len(versions) >= 8
    missing = [one for one in versions if one not in re.split("[ ,]+", table)]
    assert not missing, "run `make clients-table`"


def test_a_row_can_be_read_back() -> None:
    page = with_rows(f"before\n{BEGIN}old\n{END}after\n", [ROW])
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert rows_of(page) == [ROW]
    assert with_rows(page, rows_of(page)) == page


def test_the_parameters_of_a_test_are_one_row() -> None:
    newer = Row(ROW.client, "9.0", ROW.ran, ROW.result, ROW.test)
    other = Row("wget", "1", ROW.ran, ROW.result, "test_curl.py::test_other")
    skipped = Row(ROW.client, "", ROW.ran, "not run: no curl", ROW.test)
    assert [row.version for row in folded([ROW, other, newer, newer])] == [
        "8.0, 9.0",
        "1",
    ]
    assert [row.result for row in folded([ROW, skipped])] == ["not run: no curl"]


def test_differences_are_told_from_both_sides() -> None:
    newer = Row(ROW.client, "9.0", ROW.ran, ROW.result, ROW.test)
    broken = Row(ROW.client, "9.0", ROW.ran, "not run: no curl", ROW.test)
    assert differences([ROW], [newer]) == []
    assert len(differences([broken], [newer])) == 2
    assert differences([], [ROW])[0].startswith("no row for the test: | curl")
    assert differences([ROW], [])[0].startswith("no test for the row: | curl")
    unknown = Row(ROW.client, "?", ROW.ran, ROW.result, ROW.test)
    assert differences([unknown], [ROW])[0].startswith("no version in the row")
