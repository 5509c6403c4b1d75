"""docs/hf-api.md has a row for each route at the root."""

import re
from pathlib import Path

import pytest

from hubsync.serve.metrics import OTHER, ROUTES
from hubsync.serve.routing import VERBS

DOC = Path(__file__).parents[2] / "docs/hf-api.md"
_ROW = re.compile(r"^\| `GET (/\S*?)`", re.MULTILINE)
# What the metrics call by another name than its address.
_FAMILIES = {"resolve", "raw", "info", "list", "v2", "xet", OTHER}


@pytest.mark.parametrize("route", sorted({*ROUTES} - {*VERBS} - _FAMILIES))
def test_each_route_has_its_row(route: str) -> None:
    rows = _ROW.findall(DOC.read_text("utf-8"))
    assert {f"/{route.strip('/')}", f"/api/{route}"} & {*rows}
