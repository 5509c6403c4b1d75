"""One hub repository: a bare git repository and what the hub knows about it."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from tests.testhub.clock import parse_wire_time, wire_time
from tests.testhub.git import MAIN, GitCommit, GitRepo
from tests.testhub.lfs import Lfs, LfsPointer, LfsStore
from tests.testhub.listing import Json, Listing, build_listing

RepoType = Literal["model", "dataset", "space"]
Gated = Literal[False, "auto", "manual"]
FileContent = bytes | str | Path | Lfs | None
TreeOverride = Callable[[list[Json]], list[Json]]
_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")


@dataclass(slots=True)
class RepoMeta:
    """What is not in git.  Kept in a JSON file beside the bare repository."""

    key: str  # the wire's ``_id``
    id: str
    repo_type: RepoType
    created_at: str
    private: bool = False
    gated: Gated = False
    disabled: bool = False
    tags: list[str] = field(default_factory=list)
    pipeline_tag: str | None = None
    library_name: str | None = None
    sdk: str | None = None
    downloads: int = 0
    likes: int = 0
    # Any further keys of the info answer (cardData, safetensors, config, ...).
    fields: Json = field(default_factory=dict)
    lfs_sizes: dict[str, int] = field(default_factory=dict)


class Repo:
    """A repository of the test hub.  Every method may be called at any time."""

    def __init__(
        self, root: Path, meta: RepoMeta, lfs: LfsStore, registry: "Registry"
    ) -> None:
        self.meta = meta
        self.git = GitRepo(root / f"{meta.key}.git")
        self._meta_path = root / f"{meta.key}.json"
        self._lfs = lfs
        self._registry = registry
        self._lock = threading.RLock()
        self._listings: dict[str, Listing] = {}
        self._history: dict[str, list[GitCommit]] = {}
        self._pointers: dict[str, bytes] = {}
        self._touched: dict[str, dict[str, str]] = {}
        self.override: TreeOverride | None = None
        if not self.git.path.exists():
            self.git.init()
            self.save()
        self.refs = self.git.refs()

    @property
    def id(self) -> str:
        return self.meta.id

    @property
    def key(self) -> str:
        """The ``_id``: it outlives a rename, and a re-created repo has another."""
        return self.meta.key

    @property
    def head(self) -> str | None:
        """The commit ``main`` points at; None while there is none."""
        return self.refs.get(MAIN)

    def save(self) -> None:
        self._meta_path.write_text(json.dumps(asdict(self.meta), indent=1))

    def commit(
        self,
        files: Mapping[str, FileContent],
        *,
        message: str = "Update files",
        branch: str = "main",
        author: str = "alice",
        date: str | None = None,
    ) -> str:
        """Commit *files* on *branch* (or a full ref) and return the new sha.

        bytes, str and Path are plain files, ``Lfs`` is stored as an LFS object and
        committed as its pointer, None deletes.  Without *date* the hub's own
        calendar is used: one minute later than the last event, so shas repeat.
        """
        with self._lock:
            moment = date if date is not None else self._registry.next_moment()
            ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
            sha = self.git.commit(
                ref,
                self.refs.get(ref),
                {path: self._stored(content) for path, content in files.items()},
                message=message,
                author=author,
                timestamp=parse_wire_time(moment),
            )
            self.refs[ref] = sha
            self.save()
            return sha

    def _stored(self, content: FileContent) -> bytes | None:
        if isinstance(content, Lfs):
            pointer = self._lfs.put(content)
            self.meta.lfs_sizes[pointer.sha256] = pointer.size
            return pointer.text
        if isinstance(content, Path):
            return content.read_bytes()
        return content.encode() if isinstance(content, str) else content

    def tag(self, name: str, sha: str) -> None:
        self.set_ref(f"refs/tags/{name}", sha)

    def branch(self, name: str, sha: str) -> None:
        self.set_ref(f"refs/heads/{name}", sha)

    def convert(self, name: str, sha: str) -> None:
        """Point ``refs/convert/<name>`` (``parquet``, ``duckdb``) at *sha*."""
        self.set_ref(f"refs/convert/{name}", sha)

    def open_pr(self, sha: str) -> int:
        """Open the next pull request at *sha* and return its number."""
        with self._lock:
            numbers = [int(r[8:]) for r in self.refs if r.startswith("refs/pr/")]
            number = max(numbers, default=0) + 1
            self.set_ref(f"refs/pr/{number}", sha)
            return number

    def force_push(self, branch: str, sha: str) -> None:
        """Move *branch* to *sha*, wherever it was."""
        self.set_ref(f"refs/heads/{branch}", sha)

    def set_ref(self, ref: str, sha: str) -> None:
        with self._lock:
            self.git.set_ref(ref, sha)
            self.refs[ref] = sha

    def delete_ref(self, ref: str) -> None:
        """Delete a full ref: ``refs/heads/dev``, ``refs/tags/v1``, ``refs/pr/1``."""
        with self._lock:
            self.git.delete_ref(ref)
            del self.refs[ref]

    def rename(self, new_id: str) -> None:
        """Move to *new_id*; the old name answers 307.  The ``_id`` stays."""
        self._registry.rename(self, new_id)

    def delete(self) -> None:
        """Remove the repository from the hub."""
        self._registry.delete(self)

    def disable(self) -> None:
        self.update(disabled=True)

    def update(
        self,
        *,
        private: bool | None = None,
        gated: Gated | None = None,
        disabled: bool | None = None,
        tags: list[str] | None = None,
        downloads: int | None = None,
        likes: int | None = None,
        fields: Json | None = None,
    ) -> None:
        """Change what is given; None leaves a property as it is."""
        changes = {
            "private": private,
            "gated": gated,
            "disabled": disabled,
            "tags": tags,
            "downloads": downloads,
            "likes": likes,
            "fields": fields,
        }
        with self._lock:
            for name, value in changes.items():
                if value is not None:
                    setattr(self.meta, name, value)
            self.save()

    def tree_override(self, change: TreeOverride | None) -> None:
        """Let *change* rewrite the JSON entries of every tree answer; None ends it.

        It gets the complete list before paging, so it may add, drop, repeat or
        spoil entries.  Files are served as before.
        """
        self.override = change

    def lose_lfs(self, path: str, revision: str = "main") -> None:
        """Drop the LFS content of *path*; the tree still lists the file."""
        sha = self.resolve(revision)
        assert sha is not None, f"{self.id} has no revision {revision}"
        entry = self.listing(sha).entries[path]
        assert entry.lfs is not None, f"{path} is not an LFS file"
        self._lfs.remove(entry.lfs.sha256)

    def resolve(self, revision: str) -> str | None:
        """Branch, tag, full ref, ``HEAD``, full or short sha to a full sha."""
        with self._lock:
            if revision == "HEAD":
                return self.head
            for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
                if ref.startswith("refs/") and ref in self.refs:
                    return self.refs[ref]
            if _SHA.fullmatch(revision) and revision in self._listings:
                return revision
            if _SHA.fullmatch(revision) or _SHORT_SHA.fullmatch(revision):
                return self.git.find_commit(revision)
            return None

    def listing(self, sha: str) -> Listing:
        with self._lock:
            if sha not in self._listings:
                root_oid = self.git.root_tree(sha)
                entries = self.git.tree(sha)
                self._listings[sha] = build_listing(root_oid, entries, self._blobs)
            return self._listings[sha]

    def _blobs(self, oids: list[str]) -> dict[str, bytes]:
        unknown = [oid for oid in oids if oid not in self._pointers]
        self._pointers |= self.git.blobs(unknown)
        return self._pointers

    def history(self, sha: str) -> list[GitCommit]:
        with self._lock:
            if sha not in self._history:
                self._history[sha] = self.git.history(sha)
            return self._history[sha]

    def last_commits(self, sha: str) -> dict[str, Json]:
        """Path to the ``lastCommit`` object of its tree entry."""
        with self._lock:
            if sha not in self._touched:
                self._touched[sha] = self.git.last_touched(sha)
            shown: dict[str, Json] = {
                commit.sha: {
                    "id": commit.sha,
                    "title": commit.title,
                    "date": wire_time(commit.timestamp),
                }
                for commit in self.history(sha)
            }
            touched = self._touched[sha]
            return {path: shown[commit] for path, commit in touched.items()}

    def lfs_path(self, pointer: LfsPointer) -> Path:
        return self._lfs.path(pointer.sha256)


class Registry:
    """What a repository asks of the hub it lives in."""

    def next_moment(self) -> str:
        raise NotImplementedError

    def rename(self, repo: Repo, new_id: str) -> None:
        raise NotImplementedError

    def delete(self, repo: Repo) -> None:
        raise NotImplementedError
