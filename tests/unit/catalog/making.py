"""Repos, trees and commits for catalog tests."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from hubsync.catalog.catalog import Catalog, Publication, Published
from hubsync.model.digest import Digest, GitOid
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, RepoInfo, TreeEntry
from hubsync.ports.blobs import HeldBlob

MAIN = RefName.branch("main")
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def repo(name: str = "org/name", repo_type: RepoType = RepoType.MODEL) -> RepoId:
    return RepoId("huggingface", repo_type, name)


def oid(seed: object) -> str:
    return hashlib.sha1(repr(seed).encode()).hexdigest()


def plain(path: str, content: bytes) -> TreeEntry:
    return TreeEntry(path, len(content), GitOid.of_blob(content))


def lfs(path: str, content: bytes) -> TreeEntry:
    pointer = GitOid(oid(("pointer", content)))
    return TreeEntry(path, len(content), pointer, Digest.of(content))


def held(content: bytes, *, as_lfs: bool = False) -> HeldBlob:
    git_oid = None if as_lfs else GitOid.of_blob(content)
    return HeldBlob(Digest.of(content), len(content), git_oid)


def publish(
    catalog: Catalog,
    commit: object,
    entries: Sequence[TreeEntry] = (),
    *,
    of: RepoId | None = None,
    hub_id: str | None = None,
    refs: Sequence[RefName] = (MAIN,),
    alias: str | None = None,
    force: bool = False,
) -> Published:
    """Publish commit ``oid(commit)``."""
    of = of or repo()
    return catalog.publish(
        Publication(
            of,
            RepoInfo(of, hub_id, {"id": of.name}),
            Commit(oid(commit), f"commit {commit}", committed_at=WHEN),
            entries,
            refs,
            alias=alias,
            accept_new_identity=force,
        )
    )


def series_tree(writer: int, turn: int) -> list[TreeEntry]:
    """Shares blobs and paths with every other writer's trees."""
    return [
        plain("a-same", b"same"),
        plain("b-turn", b"%d" % turn),
        lfs("c-writer", b"%d" % writer),
        *(plain(f"d-{n:03}", b"%d" % (n + turn)) for n in range(30)),
    ]


def publish_series(catalog: Catalog, name: str, writer: int, length: int) -> None:
    for turn in range(length):
        publish(catalog, (writer, turn), series_tree(writer, turn), of=repo(name))
        catalog.record_blobs([held(b"%d" % (turn + n)) for n in range(20, 0, -1)])


def publish_from_process(url: str, name: str, writer: int, length: int) -> None:
    with Catalog.open(url) as catalog:
        publish_series(catalog, name, writer, length)


def open_and_publish(url: str, number: int) -> None:
    with Catalog.open(url) as catalog:
        publish(catalog, number, [plain("a", b"%d" % number)])
