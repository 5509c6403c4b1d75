"""All repositories, old names and tokens of one hub, in a directory of their own."""

import hashlib
import json
import secrets
import shutil
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.testhub.clock import EPOCH, parse_wire_time, wire_time
from tests.testhub.lfs import LfsStore
from tests.testhub.repo import Registry, Repo, RepoMeta, RepoType

Name = tuple[RepoType, str]  # the id in lower case: names differ in more than case
_TICK_S = 60


@dataclass(slots=True)
class Token:
    """A person, and the repositories (ids) that opened for them."""

    user: str
    approved: list[str] = field(default_factory=list)
    can_read: list[str] = field(default_factory=list)

    def may_read(self, repo: Repo) -> bool:
        return self._owns(repo) or _listed(repo, self.can_read)

    def may_download(self, repo: Repo) -> bool:
        return self.may_read(repo) or _listed(repo, self.approved)

    def _owns(self, repo: Repo) -> bool:
        return repo.id.split("/")[0].lower() == self.user.lower()


def _listed(repo: Repo, ids: list[str]) -> bool:
    return repo.id.lower() in {name.lower() for name in ids}


@dataclass(slots=True)
class _Saved:
    """The hub's own file, ``hub.json``."""

    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    events: int = 0
    repos_made: int = 0
    aliases: dict[str, str] = field(default_factory=dict)  # "model/old" -> id
    tokens: dict[str, Token] = field(default_factory=dict)


class HubState(Registry):
    """The content of a hub.  Opening a directory again brings it all back."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._repos_dir = root / "repos"
        self._repos_dir.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._repos: dict[Name, Repo] = {}
        self._saved = _Saved()
        self.lfs = LfsStore(root / "lfs")
        if self._file.exists():
            self._load()
        else:
            self._save()

    @property
    def secret(self) -> bytes:
        return self._saved.secret.encode()

    @property
    def _file(self) -> Path:
        return self._root / "hub.json"

    def _load(self) -> None:
        raw = json.loads(self._file.read_text())
        raw["tokens"] = {name: Token(**token) for name, token in raw["tokens"].items()}
        self._saved = _Saved(**raw)
        for path in sorted(self._repos_dir.glob("*.json")):
            meta = RepoMeta(**json.loads(path.read_text()))
            self._keep(Repo(self._repos_dir, meta, self.lfs, self))

    def _save(self) -> None:
        self._file.write_text(json.dumps(asdict(self._saved), indent=1))

    def _keep(self, repo: Repo) -> None:
        self._repos[(repo.meta.repo_type, repo.id.lower())] = repo

    def close(self) -> None:
        for repo in self._repos.values():
            repo.git.close()

    def next_moment(self) -> str:
        with self._lock:
            self._saved.events += 1
            self._save()
            return wire_time(parse_wire_time(EPOCH) + _TICK_S * self._saved.events)

    def create(self, repo_id: str, repo_type: RepoType) -> Repo:
        """An empty public repository with a new ``_id``."""
        with self._lock:
            name: Name = (repo_type, repo_id.lower())
            assert name not in self._repos, f"{repo_type} {repo_id} exists"
            self._saved.aliases.pop(_alias(repo_type, repo_id), None)
            self._saved.repos_made += 1
            created_at = self.next_moment()
            middle = hashlib.sha1(repo_id.encode()).hexdigest()[:10]
            seconds = parse_wire_time(created_at)
            key = f"{seconds:08x}{middle}{self._saved.repos_made:06x}"
            meta = RepoMeta(key, repo_id, repo_type, created_at)
            repo = Repo(self._repos_dir, meta, self.lfs, self)
            self._keep(repo)
            return repo

    def rename(self, repo: Repo, new_id: str) -> None:
        with self._lock:
            old_id, repo_type = repo.id, repo.meta.repo_type
            del self._repos[(repo_type, old_id.lower())]
            repo.meta.id = new_id
            repo.save()
            self._keep(repo)
            self._saved.aliases.pop(_alias(repo_type, new_id), None)
            if old_id.lower() != new_id.lower():
                self.redirect(repo_type, old_id, new_id)

    def redirect(self, repo_type: RepoType, old_id: str, new_id: str) -> None:
        """Let *old_id* answer 307 to *new_id*, whichever repository that is."""
        with self._lock:
            self._saved.aliases[_alias(repo_type, old_id)] = new_id
            self._save()

    def delete(self, repo: Repo) -> None:
        with self._lock:
            del self._repos[(repo.meta.repo_type, repo.id.lower())]
            repo.git.close()
            shutil.rmtree(repo.git.path)
            (self._repos_dir / f"{repo.key}.json").unlink()

    def find(self, repo_type: RepoType, repo_id: str) -> Repo | None:
        """The repository a name leads to, in any case and through old names."""
        with self._lock:
            seen = set()
            while (repo_type, repo_id.lower()) not in self._repos:
                alias = _alias(repo_type, repo_id)
                if alias in seen or alias not in self._saved.aliases:
                    return None
                seen.add(alias)
                repo_id = self._saved.aliases[alias]
            return self._repos[(repo_type, repo_id.lower())]

    def repos(self, repo_type: RepoType) -> list[Repo]:
        with self._lock:
            return [r for (kind, _), r in self._repos.items() if kind == repo_type]

    def add_token(self, secret: str, token: Token) -> None:
        with self._lock:
            self._saved.tokens[secret] = token
            self._save()

    def remove_token(self, secret: str) -> None:
        with self._lock:
            del self._saved.tokens[secret]
            self._save()

    def token(self, secret: str) -> Token | None:
        return self._saved.tokens.get(secret)


def _alias(repo_type: RepoType, repo_id: str) -> str:
    return f"{repo_type}/{repo_id.lower()}"
