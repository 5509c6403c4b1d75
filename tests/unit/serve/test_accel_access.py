"""Files that a proxy sends in our place, and who may read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serve import tenants
from tests.unit.serve.mirror import Mirror, serving
from tests.unit.serve.tenants import SHARED, bearer, give

LARGE = "/acme/open/resolve/main/w.bin"
ACCEL: dict[str, Any] = {
    "accel": "x-accel-redirect",
    "trusted_proxies": ("127.0.0.1",),
    "auth": "tokens",
}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Mirror]:
    mirror = tenants.made(tmp_path / "mirror")
    yield mirror
    mirror.close()


def test_no_proxy_hears_of_a_file_that_its_client_may_not_read(two: Mirror) -> None:
    ours, theirs = give(two, "ci", "acme/*"), give(two, "other", "rival/*")
    with serving(two, **ACCEL) as live:
        answer = live.ask(LARGE, headers=bearer(ours))
        assert "x-accel-redirect" in answer.headers
        assert answer.headers["cache-control"] == "private"
        assert "Authorization" in answer.headers["vary"]
        for refused in (live.get(LARGE), live.ask(LARGE, headers=bearer(theirs))):
            assert refused.status in (401, 404)
            assert "x-accel-redirect" not in refused.headers


def test_a_token_with_a_rate_gets_its_files_from_us(two: Mirror) -> None:
    """The proxy knows of no rate."""
    token = give(two, "slow", rate_bytes_per_s=10 * len(SHARED))
    with serving(two, **ACCEL) as live:
        answer = live.ask(LARGE, headers=bearer(token))
        assert answer.body == SHARED
        assert "x-accel-redirect" not in answer.headers


def test_what_the_proxy_sends_is_written_down_with_its_client(
    two: Mirror, tmp_path: Path
) -> None:
    token, path = give(two, "ci"), tmp_path / "audit.jsonl"
    with serving(two, audit_log=path, **ACCEL) as live:
        for wanted in ({}, {"Range": "bytes=0-299999"}):
            asked = {**bearer(token), "X-Forwarded-For": "192.0.2.9", **wanted}
            answer = live.ask(LARGE, headers=asked)
            assert "x-accel-redirect" in answer.headers
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["bytes"] for one in found] == [len(SHARED), 300_000]
    assert {one["client"] for one in found} == {"192.0.2.9"}
