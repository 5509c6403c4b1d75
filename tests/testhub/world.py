"""The repos and accounts of the hub, as a test makes them."""

import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testhub.clock import Clock, parse_wire_time
from tests.testhub.git import MAIN, GitRepo
from tests.testhub.lfs import Lfs, LfsStore
from tests.testhub.listing import Json, Listing, build_listing
from tests.testhub.shared_git import OneOfMany, SharedGit

Content = bytes | Path | Lfs | None
_START = "2026-01-01T00:00:00.000Z"


@dataclass(slots=True)
class Account:
    """Who a token belongs to, and what it opens."""

    user: str
    approved: frozenset[str] = frozenset()
    can_read: frozenset[str] = frozenset()


@dataclass
class HubRepo:
    """One repo.  Methods that change it may be called while the hub serves."""

    world: "World"
    repo_type: str
    name: str
    hub_id: str
    git: GitRepo
    private: bool = False
    gated: bool | str = False
    disabled: bool = False
    tags: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    library_name: str | None = None
    likes: int = 3
    downloads: int = 7
    used_storage: int | None = None  # None: what the LFS files of main take
    created_at: str = _START
    tree_override: Callable[[list[Json]], list[Any]] | None = None
    _listings: dict[str, Listing] = field(default_factory=dict)
    _times: dict[str, int] = field(default_factory=dict)  # of commits
    _clock: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def key(self) -> tuple[str, str]:
        return self.repo_type, self.name

    def commit(
        self,
        files: Mapping[str, Content],
        message: str = "Update files",
        *,
        branch: str = "main",
        author: str = "alice",
        date: str | None = None,
        parent: str | None = None,
    ) -> str:
        """Commit *files* (None deletes, Lfs goes to the object store); 40 hex."""
        ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
        if date is None:
            at = parse_wire_time(_START) + 60 * next(self._clock)
        else:
            at = parse_wire_time(date)
        stored = {path: self._store(content) for path, content in files.items()}
        head = parent or self.git.refs().get(ref)
        sha = self.git.commit(
            ref, head, stored, message=message, author=author, timestamp=at
        )
        self.note_commit(sha, at)
        return sha

    def note_commit(self, sha: str, at: int) -> None:
        """Its time, so that git need not be asked: a list has thousands of them."""
        self._times[sha] = at

    def _store(self, content: Content) -> bytes | None:
        if isinstance(content, Lfs):
            return self.world.lfs.put(content).text
        return content.read_bytes() if isinstance(content, Path) else content

    def branch(self, name: str, commit: str) -> None:
        self.git.set_ref(f"refs/heads/{name}", commit)

    force_push = branch

    def tag(self, name: str, commit: str) -> None:
        self.git.set_ref(f"refs/tags/{name}", commit)

    def open_pr(self, commit: str, number: int = 1) -> str:
        self.git.set_ref(f"refs/pr/{number}", commit)
        return f"refs/pr/{number}"

    def convert(self, name: str, commit: str) -> None:
        self.git.set_ref(f"refs/convert/{name}", commit)

    def rename(self, name: str) -> None:
        self.world.rename(self, name)

    def delete(self) -> None:
        self.world.delete(self)

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, tag, special ref, ``HEAD`` or (short) commit."""
        if revision in self._listings:  # commits never change; git is slow to ask
            return revision
        refs = self.git.refs()
        if revision == "HEAD":
            return refs.get(MAIN)
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref.startswith("refs/") and ref in refs:
                return refs[ref]
        is_hex = 7 <= len(revision) <= 40 and set(revision) <= set("0123456789abcdef")
        return self.git.find_commit(revision) if is_hex else None

    def committed_at(self, commit: str) -> int:
        if commit not in self._times:
            self._times[commit] = self.git.history(commit)[0].timestamp
        return self._times[commit]

    def listing(self, commit: str) -> Listing:
        if commit not in self._listings:
            self._listings[commit] = build_listing(
                self.git.root_tree(commit), self.git.tree(commit), self.git.blobs
            )
        return self._listings[commit]


class World:
    """Everything the hub knows, kept under one folder and found there again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lfs = LfsStore(folder / "lfs")
        self.clock = Clock()
        self.accounts: dict[str, Account] = {}
        self._lock = threading.Lock()
        self._repos: dict[tuple[str, str], HubRepo] = {}
        self._moved: dict[tuple[str, str], str] = {}
        self._made = 0  # repos ever, so that an id is never given twice
        self._shared: SharedGit | None = None
        self._gits: list[GitRepo] = []  # of deleted repos too: they are to be closed
        folder.mkdir(parents=True, exist_ok=True)
        self._load()

    def create(self, name: str, repo_type: str = "model", **more: Any) -> HubRepo:
        number = self._made + 1
        hub_id = _hub_id(number, repo_type, name)
        git = GitRepo(self.folder / "git" / f"{hub_id}.git")
        git.path.parent.mkdir(exist_ok=True)
        git.init()
        repo = HubRepo(self, repo_type, name, hub_id, git, **more)
        self._gits.append(git)
        with self._lock:
            self._repos[repo.key] = repo
            self._made = number
            self._moved.pop(repo.key, None)
        self._save()
        return repo

    def create_many(
        self, contents: Mapping[str, Mapping[str, bytes]], repo_type: str, **more: Any
    ) -> list[HubRepo]:
        """A repo of one commit for each name, as fast as git can."""
        ids = {
            name: _hub_id(self._made + number, repo_type, name)
            for number, name in enumerate(contents, 1)
        }
        start = parse_wire_time(_START)
        shared = self._shared_git()
        heads = shared.commit_all(
            {ids[name]: files for name, files in contents.items()},
            message="Add files",
            author="alice",
            timestamp=start,
        )
        made = []
        for number, (name, hub_id) in enumerate(ids.items()):
            git = OneOfMany(shared, hub_id)
            repo = HubRepo(self, repo_type, name, hub_id, git, **more)
            repo.note_commit(heads[hub_id], start + number)
            made.append(repo)
        with self._lock:
            self._repos |= {repo.key: repo for repo in made}
            self._made += len(made)
            for repo in made:
                self._moved.pop(repo.key, None)
        self._save()
        return made

    def _shared_git(self) -> SharedGit:
        if self._shared is None:
            self._shared = SharedGit(self.folder / "git" / "shared.git")
            self._gits.append(self._shared.git)
        return self._shared

    def rename(self, repo: HubRepo, name: str) -> None:
        with self._lock:
            del self._repos[repo.key]
            self._moved[repo.key] = name
            repo.name = name
            self._repos[repo.key] = repo
        self._save()

    def delete(self, repo: HubRepo) -> None:
        with self._lock:
            del self._repos[repo.key]
        self._save()

    def find(self, repo_type: str, name: str) -> tuple[HubRepo | None, str | None]:
        """``(repo, None)``, ``(None, the name to redirect to)``, or neither."""
        with self._lock:
            if (repo_type, name) in self._repos:
                return self._repos[repo_type, name], None
            if (repo_type, name) in self._moved:
                return None, self._moved[repo_type, name]
            for kind, other in self._repos:
                if kind == repo_type and other.lower() == name.lower():
                    return None, other
        return None, None

    def all(self, repo_type: str) -> list[HubRepo]:
        with self._lock:
            return [one for one in self._repos.values() if one.repo_type == repo_type]

    def close(self) -> None:
        for git in self._gits:
            git.close()

    def _save(self) -> None:
        rows = [
            {
                "repo_type": one.repo_type,
                "name": one.name,
                "hub_id": one.hub_id,
                "private": one.private,
                "gated": one.gated,
                "shared": isinstance(one.git, OneOfMany),
            }
            for one in self._repos.values()
        ]
        saved = {"made": self._made, "repos": rows}
        (self.folder / "repos.json").write_text(json.dumps(saved), "utf-8")

    def _load(self) -> None:
        saved = self.folder / "repos.json"
        if not saved.exists():
            return
        content = json.loads(saved.read_text("utf-8"))
        self._made = content["made"]
        for row in content["repos"]:
            hub_id = row["hub_id"]
            if row.pop("shared"):
                git: GitRepo = OneOfMany(self._shared_git(), hub_id)
            else:
                git = GitRepo(self.folder / "git" / f"{hub_id}.git")
                self._gits.append(git)
            repo = HubRepo(self, git=git, **row)
            self._repos[repo.key] = repo


def _hub_id(number: int, repo_type: str, name: str) -> str:
    text = f"{number}:{repo_type}:{name}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]
