"""Files that are served and stored nowhere, and repos of very many files."""

import hashlib
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.selfcheck.asking import ask
from tests.testhub import Lfs, TestHub, Virtual


def address(hub: TestHub, virtual: Virtual) -> str:
    hub.create_repo("acme/big").commit({"m.bin": Lfs(virtual)})
    return ask(f"{hub.endpoint}/acme/big/resolve/main/m.bin").location


def test_a_pattern_has_the_digest_it_says() -> None:
    virtual = Virtual(9_000_001)
    assert hashlib.sha256(virtual.content()).hexdigest() == virtual.sha256
    assert Virtual(9_000_001, seed=1).sha256 != virtual.sha256


def test_a_pattern_differs_at_every_offset() -> None:
    virtual = Virtual(5_000_000)
    blocks = {bytes(virtual.read(at, 4096)) for at in range(0, 950_000, 4096)}
    assert len(blocks) == len(range(0, 950_000, 4096))


def test_zeros_have_the_digest_that_is_written_down() -> None:
    assert (
        Virtual(5_000_000, "zeros").sha256
        == hashlib.sha256(bytes(5_000_000)).hexdigest()
    )


@pytest.mark.parametrize("size", [1000, 9_000_001])
def test_a_virtual_file_arrives_whole_and_in_ranges(hub: TestHub, size: int) -> None:
    virtual = Virtual(size)
    url, data = address(hub, virtual), virtual.content()
    assert ask(url).body == data
    middle = ask(url, headers={"Range": f"bytes=10-{size - 10}"})
    assert middle.body == data[10 : size - 9]
    assert hub.lfs_bytes_sent == 2 * size - 19


def test_a_virtual_file_leaves_nothing_on_disk(hub: TestHub, tmp_path: Path) -> None:
    ask(address(hub, Virtual(2_000_000)))
    sizes = [one.stat().st_size for one in tmp_path.rglob("*") if one.is_file()]
    assert max(sizes) < 100_000


def test_the_tail_of_60_gib_is_as_near_as_its_head(hub: TestHub) -> None:
    virtual = Virtual(60 * 2**30, "zeros")
    url = address(hub, virtual)
    tail = ask(url, headers={"Range": f"bytes={virtual.size - 5}-"})
    assert (tail.status, tail.body) == (206, bytes(5))
    assert tail.headers["Content-Range"].endswith(f"/{virtual.size}")


def test_a_client_that_leaves_is_no_harm(hub: TestHub) -> None:
    url = address(hub, Virtual(60 * 2**30, "zeros"))
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as leaving:
        leaving.sendall(
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        assert leaving.recv(1000)
    assert ask(url, headers={"Range": "bytes=0-9"}).body == bytes(10)


def test_ten_thousand_files_are_committed_and_listed_in_pages(hub: TestHub) -> None:
    repo = hub.create_repo("acme/many")
    commit = repo.commit({f"d{n % 10}/{n}.txt": b"%d" % n for n in range(10_000)})
    url = f"{hub.endpoint}/api/models/acme/many/tree/{commit}?recursive=true"
    found, pages = set(), 0
    while url:
        page = ask(url)
        found |= {row["path"] for row in page.json() if row["type"] == "file"}
        following = re.search("<(.*)>", page.headers.get("Link", ""))
        url, pages = following[1] if following else "", pages + 1
    assert (len(found), pages) == (10_000, 11)


def test_a_known_commit_is_resolved_without_asking_git(hub: TestHub) -> None:
    repo = hub.create_repo("acme/tiny")
    commit = repo.commit({"a": b"1"})
    repo.listing(commit)
    repo.git.path.rename(repo.git.path.with_suffix(".gone"))
    assert repo.resolve(commit) == commit
