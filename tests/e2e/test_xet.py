"""Real Xet clients (hf_xet, huggingface_hub, @huggingface/hub) on plain blobs."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from hubsync.catalog.rows import Publication
from hubsync.model.digest import Digest
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, RepoInfo, TreeEntry
from hubsync.ports.blobs import HeldBlob
from hubsync.wire.lfs import pointer_oid
from tests.e2e.stand import JS_CLIENT, Client, js_version, python_of, run
from tests.unit.serve.mirror import File, Live, Mirror, oid, serving

pytestmark = pytest.mark.clients

NAME = "acme/xet"
COMMIT = oid("xet")
SMALL, LARGE = os.urandom(300_001), os.urandom(70_000_003)  # one xorb, two xorbs
UPSTREAM = {"large.bin": "1" * 64}  # what the hub has called it
FILES = {
    "config.json": File(b'{"v": 1}\n'),
    "empty.bin": File(b"", lfs=True),
    "large.bin": File(LARGE, lfs=True, xet_hash=UPSTREAM["large.bin"]),
    "small.bin": File(SMALL, lfs=True),
}
SHAS = {path: hashlib.sha256(one.data).hexdigest() for path, one in FILES.items()}
TOLD = {**SHAS, **UPSTREAM}  # by what name clients are told to ask

SNAPSHOT = """
import hashlib, pathlib
from huggingface_hub import snapshot_download
folder = pathlib.Path(snapshot_download("acme/xet", revision=sys.argv[1]))
answer = {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.iterdir()
}
"""
ONE_FILE = """
import hashlib, pathlib
from huggingface_hub import hf_hub_download
path = pathlib.Path(hf_hub_download("acme/xet", sys.argv[1]))
answer = hashlib.sha256(path.read_bytes()).hexdigest()
"""
STREAM = """
import hashlib, hf_xet
url, route, sha, start, end = sys.argv[1:]
session = hf_xet.XetSession()
group = session.new_download_stream_group(
    token_refresh_url=url + route, endpoint=url + "/_xet"
)
info = hf_xet.XetFileInfo(sha, int(end) + 1)
stream = group.download_stream(info, start=int(start), end=int(end))
answer = b"".join(bytes(one) for one in stream).hex()
"""
JS = """
const { downloadFile, fileDownloadInfo } = await import(process.argv[2]);
const { createHash } = await import("node:crypto");
const hubUrl = process.argv[3];
const answer = {};
for (const path of ["config.json", "small.bin", "large.bin", "empty.bin"]) {
  const at = { repo: "acme/xet", path, hubUrl };
  const info = await fileDownloadInfo(at);
  const blob = await downloadFile(at);
  const bytes = Buffer.from(await blob.arrayBuffer());
  const sha = createHash("sha256").update(bytes).digest("hex");
  answer[path] = [info.xet?.hash ?? null, info.size, sha];
}
console.log(JSON.stringify(answer));
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path_factory.mktemp("xet"))
    mirror.publish(NAME, FILES, commit="xet")
    yield mirror
    mirror.close()


def client(live: Live, home: Path, **settings: str) -> Client:
    return Client(home, {"HF_ENDPOINT": live.url, **settings})


def went_by(live: Live, kind: str) -> list[str]:
    """The answered requests whose target has *kind* in it."""
    return [line for line in live.requests() if kind in line]


def plant_tree(home: Path, hashes: dict[str, str]) -> None:
    """A cache as a client leaves that has listed this commit on a hub with Xet."""
    files: dict[str, dict[str, Any]] = {}
    for path, one in FILES.items():
        size = len(one.data)
        files[path] = {"size": size, "blob_id": oid(path)}
        if one.lfs:
            files[path] |= {"lfs_sha256": SHAS[path], "lfs_size": size}
        if path in hashes:
            files[path]["xet_hash"] = hashes[path]
    folder = home / "hf/hub/models--acme--xet/trees"
    folder.mkdir(parents=True)
    tree = {"format_version": 1, "files": files}
    (folder / f"{COMMIT}.json").write_text(json.dumps(tree))


def test_by_default_a_snapshot_comes_without_xet(
    mirror: Mirror, tmp_path: Path
) -> None:
    with serving(mirror) as live:
        assert client(live, tmp_path).ask(SNAPSHOT, "main") == SHAS
        assert not went_by(live, "xet-read-token")
        assert not went_by(live, "/_xet/")


@pytest.mark.table_row("hf_xet", '`snapshot_download` by Xet (`serve.xet = "always"`)')
@pytest.mark.parametrize("generation", ["0.3x", "newest"])
def test_with_always_a_snapshot_comes_by_xet(
    mirror: Mirror, tmp_path: Path, generation: str, ran: Callable[[str], None]
) -> None:
    with serving(mirror, xet="always") as live:
        asking = client(live, tmp_path)
        if generation == "0.3x":
            asking = replace(asking, python=python_of("hub-old"))
        hub, xet = asking.version("huggingface_hub"), asking.version("hf-xet")
        ran(f"{xet} in huggingface_hub {hub}")
        assert asking.ask(SNAPSHOT, "main") == SHAS
        for path in ("small.bin", "large.bin"):
            assert went_by(live, f"/_xet/v2/reconstructions/{TOLD[path]}")
            assert went_by(live, f"/_xet/xorbs/{TOLD[path]}/0")
            assert not went_by(live, f"GET /{NAME}/resolve/{COMMIT}/{path}")
        assert went_by(live, f"/_xet/xorbs/{TOLD['large.bin']}/1")


def test_a_file_above_the_limit_comes_by_xet_and_one_below_does_not(
    mirror: Mirror, tmp_path: Path
) -> None:
    with serving(mirror, xet_above_bytes=len(SMALL)) as live:
        for path in ("small.bin", "large.bin"):
            assert client(live, tmp_path).ask(ONE_FILE, path) == SHAS[path]
        assert went_by(live, f"/_xet/xorbs/{TOLD['large.bin']}/1")
        assert not went_by(live, f"GET /{NAME}/resolve/main/large.bin")
        assert not went_by(live, SHAS["small.bin"])
        assert went_by(live, f"GET /{NAME}/resolve/main/small.bin")


def test_a_client_with_xet_disabled_takes_the_body(
    mirror: Mirror, tmp_path: Path
) -> None:
    with serving(mirror, xet="always") as live:
        plain = client(live, tmp_path, HF_HUB_DISABLE_XET="1")
        assert plain.ask(SNAPSHOT, "main") == SHAS
        assert not went_by(live, "/_xet/")


def test_a_cache_that_remembers_our_hashes_is_served(
    mirror: Mirror, tmp_path: Path
) -> None:
    ours = {path: SHAS[path] for path in ("small.bin", "large.bin", "empty.bin")}
    plant_tree(tmp_path, ours)
    with serving(mirror) as live:
        assert client(live, tmp_path).ask(SNAPSHOT, "main") == SHAS
        assert went_by(live, f"/_xet/xorbs/{SHAS['large.bin']}/1")
        assert not went_by(live, "/tree/")


@pytest.mark.table_row(
    "hf_xet", "`snapshot_download` with a cache that the Hub has filled"
)
def test_a_cache_that_remembers_the_hubs_hashes_is_served(
    mirror: Mirror, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    ran(version("hf-xet"))
    plant_tree(tmp_path, UPSTREAM)
    with serving(mirror) as live:
        assert client(live, tmp_path).ask(SNAPSHOT, "main") == SHAS
        assert went_by(live, f"/_xet/xorbs/{UPSTREAM['large.bin']}/1")
        assert not went_by(live, f"GET /{NAME}/resolve/{COMMIT}/large.bin")
        assert went_by(live, f"GET /{NAME}/resolve/{COMMIT}/small.bin")


def test_a_stream_of_a_part_fetches_its_pieces_alone(
    mirror: Mirror, tmp_path: Path
) -> None:
    with serving(mirror) as live:
        route = f"/api/models/{NAME}/xet-read-token/{COMMIT}"
        start, end = 65_530_000, 65_540_000  # from the first xorb into the second
        sha = SHAS["large.bin"]
        arguments = (live.url, route, sha, str(start), str(end))
        got = client(live, tmp_path).ask(STREAM, *arguments)
        assert bytes.fromhex(got) == LARGE[start:end]
        assert went_by(live, f"/_xet/xorbs/{sha}/0")


def test_a_client_goes_on_with_a_new_token_when_its_old_one_has_expired(
    mirror: Mirror, tmp_path: Path
) -> None:
    with serving(mirror) as live:
        route = f"/api/models/{NAME}/xet-read-token/{COMMIT}"
        program = STREAM.replace(
            "token_refresh_url=",
            "token='old', token_expiry_unix_secs=1, token_refresh_url=",
        )
        arguments = (live.url, route, SHAS["small.bin"], "0", str(len(SMALL) - 1))
        got = client(live, tmp_path).ask(program, *arguments)
        assert bytes.fromhex(got) == SMALL[:-1]


@pytest.mark.table_row(
    "@huggingface/hub", '`downloadFile` by Xet (`serve.xet = "always"`)'
)
def test_the_javascript_client_downloads_by_xet(
    mirror: Mirror, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    if not JS_CLIENT.exists() or shutil.which("node") is None:
        pytest.skip("no @huggingface/hub in .venvs/js: run tests/clients/install.sh")
    ran(js_version("@huggingface/hub"))
    program = tmp_path / "xet.mjs"
    program.write_text(JS)
    with serving(mirror, xet="always") as live:
        said = run("node", program, JS_CLIENT, live.url, env=client(live, tmp_path).env)
        answer = json.loads(said.splitlines()[-1])
        assert answer == {
            path: [
                TOLD[path] if one.lfs and one.data else None,
                len(one.data),
                SHAS[path],
            ]
            for path, one in FILES.items()
        }
        assert went_by(live, f"/_xet/xorbs/{TOLD['large.bin']}/1")


def publish_huge(mirror: Mirror, digest: Digest, size: int, end: bytes) -> None:
    """A sparse file of *size* bytes that ends in *end*, taken for what *digest* is."""
    name = digest.hex
    file = mirror.folder / "blobs" / "sha256" / name[:2] / name[2:4] / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.truncate(size - len(end))
        out.seek(0, os.SEEK_END)
        out.write(end)
    mirror.catalog.record_blobs([HeldBlob(digest, size)])
    repo = RepoId("huggingface", RepoType.MODEL, "acme/huge")
    entry = TreeEntry("w", size, pointer_oid(digest, size), digest)
    mirror.catalog.publish(
        Publication(
            repo=repo,
            info=RepoInfo(repo),
            commit=Commit(oid("huge")),
            entries=[entry],
            refs=[RefName("refs/heads/main")],
        )
    )


@pytest.mark.table_row("hf_xet", "a stream of the end of a file of 60 GB")
def test_the_end_of_a_file_beyond_50_gb_is_streamed_without_the_rest(
    tmp_path: Path, ran: Callable[[str], None]
) -> None:
    ran(version("hf-xet"))
    size, end = 60_000_000_000, b"the very end"
    digest = Digest("5" * 64)
    mirror = Mirror(tmp_path / "mirror")
    publish_huge(mirror, digest, size, end)
    with serving(mirror) as live:
        head = live.ask("/acme/huge/resolve/main/w", "HEAD")
        assert head.headers["x-xet-hash"] == digest.hex
        route = "/api/models/acme/huge/xet-read-token/main"
        arguments = (live.url, route, digest.hex, str(size - 300_000), str(size))
        program = STREAM.replace("int(end) + 1", "int(end)")
        got = bytes.fromhex(client(live, tmp_path).ask(program, *arguments))
        assert got == bytes(300_000 - len(end)) + end
        assert len(went_by(live, f"/_xet/xorbs/{digest.hex}/")) == 1
    mirror.close()
