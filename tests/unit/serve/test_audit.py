"""The audit log, rates of tokens, and where no token is ever written."""

import base64
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubsync.catalog.tokens import TokenGrant
from hubsync.serve.access import Access
from hubsync.serve.allowance import Allowance
from hubsync.serve.audit import AuditLog, AuditLogError
from hubsync.serve.errors import Problem
from hubsync.serve.options import ServeOptions
from hubsync.serve.redact import redacted
from tests.unit.serve import tenants
from tests.unit.serve.mirror import Mirror, oid, serving
from tests.unit.serve.tenants import SHARED, bearer, give, status

FILE = "/acme/open/resolve/main/config.json"
LARGE = "/acme/open/resolve/main/w.bin"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Mirror]:
    mirror = tenants.made(tmp_path / "mirror")
    yield mirror
    mirror.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_who_read_what_is_written_down(two: Mirror, tmp_path: Path) -> None:
    token, path = give(two, "ci", "acme/*"), tmp_path / "audit.jsonl"
    with serving(two, auth="tokens", audit_log=path) as live:
        read = live.ask(FILE, headers=bearer(token))
        live.ask(LARGE, headers={**bearer(token), "Range": "bytes=1-300000"})
        live.ask(LARGE, "HEAD", bearer(token))
        live.ask("/rival/secret/resolve/main/plans.txt", headers=bearer(token))
        live.ask(FILE)
        live.ask("/api/models?token=" + token, headers=bearer(token))
        live.ask("/healthz")
    found = lines(path)
    assert [
        (one["reader"], one["method"], one["repo"], one["status"], one["bytes"])
        for one in found
    ] == [
        ("ci", "GET", "huggingface:acme/open", 200, 2),
        ("ci", "GET", "huggingface:acme/open", 206, 300_000),
        ("ci", "HEAD", "huggingface:acme/open", 200, 0),
        ("ci", "GET", "huggingface:rival/secret", 404, 0),
        (None, "GET", None, 401, 0),
        ("ci", "GET", None, 200, found[5]["bytes"]),
    ]
    first = found[0]
    assert first["path"] == FILE
    assert first["commit"] == oid("ours")
    assert first["client"] == "127.0.0.1"
    assert first["request_id"] == read.headers["x-request-id"]
    assert first["time"].endswith("+00:00")
    assert found[5]["path"] == "/api/models"
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_it_works_where_nobody_is_asked_too(two: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with serving(two, audit_log=path) as live:
        for target in (FILE, LARGE, "/api/models", "/no/such/resolve/main/x"):
            live.get(target)
    assert [(one["reader"], one["status"]) for one in lines(path)] == [
        *[("anybody", 200)] * 3,
        ("anybody", 404),
    ]


def test_what_cannot_be_written_down_is_not_read(two: Mirror, tmp_path: Path) -> None:
    """Not even its headers leave."""
    folder = tmp_path / "logs"
    folder.mkdir()
    with serving(two, audit_log=folder / "audit.jsonl") as live:
        assert live.get(FILE).status == 200
        (folder / "audit.jsonl").unlink()
        folder.rmdir()
        for target in (FILE, LARGE, "/api/models", "/acme/open/raw/main/w.bin"):
            answer = live.get(target)
            assert answer.status == 503, target
            assert "etag" not in answer.headers
            assert "x-repo-commit" not in answer.headers
            assert b"writes down" in answer.body
        assert live.ask(LARGE, "HEAD").status == 503
        live.wait_for("audit log cannot be written")
        folder.mkdir()
        assert live.get(LARGE).body == SHARED
        assert [one["status"] for one in lines(folder / "audit.jsonl")] == [200]


def test_a_full_disk_refuses_and_tears_no_later_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    audit.write({"n": 1})
    os.truncate(path, path.stat().st_size - 5)  # as a write that ended early
    audit._torn = True
    audit.write({"n": 2})
    audit.close()
    *_, last = path.read_text().splitlines()
    assert json.loads(last)["n"] == 2
    full = AuditLog(Path("/dev/full"))
    with pytest.raises(Problem) as caught:
        full.write({"n": 3})
    full.close()
    assert caught.value.status == 503


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    audit = AuditLog(path)
    audit.write({"n": 1})
    path.rename(moved)
    audit.write({"n": 2})
    audit.close()
    assert [one["n"] for one in lines(moved)] == [1]
    assert [one["n"] for one in lines(path)] == [2]


def test_who_write_at_once_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    def work(number: int) -> None:
        audit = AuditLog(path)
        for at in range(200):
            audit.write({"n": number, "at": at, "pad": "x" * (at * 7 % 500)})
        audit.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) == 800


def test_a_log_that_cannot_be_opened_keeps_the_server_from_starting(
    two: Mirror, tmp_path: Path
) -> None:
    options = ServeOptions(audit_log=tmp_path / "nowhere" / "audit.jsonl")
    with pytest.raises(AuditLogError, match="nowhere"):
        Access.of(two.library(), options)


# S20: where no token is written


def test_s20_a_canary_token_is_in_no_output(
    two: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However it is shown, right or wrong: not in logs, answers, or the store."""
    good, audit = give(two, "canary"), tmp_path / "audit.jsonl"
    wrong, hub = good[:-2] + "zz", "hf_" + "CanaryOfTheHub" * 3
    caplog.set_level(logging.DEBUG)
    said = []
    with serving(two, auth="tokens", audit_log=audit, xet="always") as live:
        for token in (good, wrong, hub):
            basic = base64.b64encode(f"u:{token}".encode()).decode()
            shown = (f"Bearer {token}", f"Basic {basic}", token, f"Bearer {token}x")
            targets = (FILE, LARGE, "/no/such/resolve/a/b", "/api/whoami-v2")
            said += [
                live.ask(target, headers={"Authorization": one})
                for one in shown
                for target in targets
            ]
            for key in ("token", "access_token", "Hub-Token", "authorization"):
                live.ask(f"{FILE}?a=b&{key}={token}&c=d")
            live.ask(f"/acme/open/resolve/main/x?{token}")
            live.ask("/%zz", headers={"Authorization": f"Bearer {token}\x01"})
        grant = live.ask(
            "/api/models/acme/open/xet-read-token/main", headers=bearer(good)
        ).json()["accessToken"]
        live.ask(f"/_xet/xorbs/{'0' * 64}/0?grant={grant}")
        logged = "\n".join(
            [
                *(str(one.msg) for one in live.log),
                *(one.exc_text or "" for one in live.log),
            ]
        )
    everything = [logged, caplog.text, audit.read_text()]
    everything += [str((one.headers, one.body)) for one in said]
    kept = [one for one in two.folder.rglob("*") if one.is_file()]
    everything += [one.read_bytes().decode("latin-1") for one in kept]
    basics = [base64.b64encode(f"u:{one}".encode()).decode() for one in (good, hub)]
    for text in everything:
        for secret in (good, wrong, hub, *basics):
            assert secret not in text
            assert secret[:20] not in text or secret in basics
        assert grant not in text
    assert len(logged) > 5000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/a/b?download=true", "/a/b?download=true"),
        ("/a/b?token=secret&x=1", "/a/b?token=[hidden]&x=1"),
        ("/a/b?x=1&ACCESS_TOKEN=secret", "/a/b?x=1&ACCESS_TOKEN=[hidden]"),
        ("/a/b?grant=abc.def", "/a/b?grant=[hidden]"),
        ("/a/hs_" + "x" * 43 + "/b", "/a/[hidden]/b"),
        ("/a/hf_" + "x" * 34, "/a/[hidden]"),
        ("/acme/hf_transformer_tokens/x", "/acme/hf_transformer_tokens/x"),
        ("b'Authorization: Bearer abc'", "b'Authorization: Bearer [hidden]'"),
        ("authorization: basic QTpC", "authorization: basic [hidden]"),
        ("/tokens/main?tokenizer=a", "/tokens/main?tokenizer=a"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else(
    text: str, shown: str
) -> None:
    assert redacted(text) == shown


# Rates


def test_requests_of_a_token_are_counted(two: Mirror) -> None:
    token = give(two, "slow", requests_per_minute=5)
    with serving(two, auth="tokens") as live:
        assert [status(live, FILE, token) for _ in range(5)] == [200] * 5
        answer = live.ask(FILE, headers=bearer(token))
        assert answer.status == 429
        wait = int(answer.headers["retry-after"])
        assert 1 <= wait <= 12
        assert answer.headers["ratelimit"] == f'"api";r=0;t={wait}'
        assert answer.headers["ratelimit-policy"] == '"fixed window";"api";q=5;w=60'
        assert status(live, FILE, give(two, "other")) == 200


def test_what_is_saved_up_is_a_minutes_worth() -> None:
    clock = [0.0]
    allowance = Allowance(TokenGrant(requests_per_minute=60), lambda: clock[0])

    def burst() -> int:
        for count in range(1000):
            try:
                allowance.count_request()
            except Problem:
                return count
        raise AssertionError

    assert burst() == 60
    clock[0] += 1.0
    assert burst() == 1
    clock[0] += 3600.0
    assert burst() == 60


def test_bytes_of_a_token_come_no_faster_than_agreed(two: Mirror) -> None:
    token = give(two, "slow", rate_bytes_per_s=250_000)
    with serving(two, auth="tokens") as live:
        started = time.monotonic()
        assert live.ask(LARGE, headers=bearer(token)).body == SHARED
        assert live.ask(LARGE, headers=bearer(token)).body == SHARED
        took = time.monotonic() - started
        # 1 MB, of which a second's worth was saved up.
        assert 2.7 < took < 6.0
        started = time.monotonic()
        assert live.ask(LARGE, headers=bearer(give(two, "fast"))).body == SHARED
        assert time.monotonic() - started < 1.0
