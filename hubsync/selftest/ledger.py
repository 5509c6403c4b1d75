"""What the workers have said, and so what must be true."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hubsync.model.digest import Digest
from hubsync.selftest.process import Message

Version = tuple[str, str]  # name of the repo, commit
Files = Mapping[str, Digest]


@dataclass(slots=True)
class Ledger:
    """Kept by the one who kills; no worker can take back what it said."""

    # Every version that anybody has begun to publish: what is visible is one of
    # these, whether or not its writer lived to say so.
    begun: dict[Version, Files] = field(default_factory=dict)
    acknowledged: dict[Version, Files] = field(default_factory=dict)
    leaving: set[Version] = field(default_factory=set)  # perhaps gone
    gone: set[Version] = field(default_factory=set)  # said to be gone
    # Blobs that a worker has stored and not yet published: its lease keeps them.
    stored: dict[str, set[Digest]] = field(default_factory=dict)
    versions: int = 0
    files: int = 0
    collected: int = 0
    failures: list[str] = field(default_factory=list)
    full: list[str] = field(default_factory=list)  # what found no room

    def note(self, worker: str, message: Message) -> None:
        """Take down one thing that *worker* said."""
        word = message["word"]
        if word in ("publishes", "published"):
            self._note_version(word, message)
        elif word in ("forgets", "forgot"):
            version = (message["repo"], message["commit"])
            self.leaving.add(version)
            self.acknowledged.pop(version, None)
            if word == "forgot":
                self.gone.add(version)
        elif word == "stored":
            stored = self.stored.setdefault(worker, set())
            stored.update(Digest(name) for name in message["blobs"])
        elif word == "lets go":
            self.stored.pop(worker, None)
        elif word == "collected":
            self.collected += message["blobs"]
        else:
            assert word == "failed", f"nobody says {word!r}"
            if message.get("no_room"):
                self.full.append(message["what"])
                return
            self.failures.append(f"{worker}: {message['what']}\n{message['where']}")

    def _note_version(self, word: str, message: Message) -> None:
        version = (message["repo"], message["commit"])
        files = {path: Digest(name) for path, name in message["files"].items()}
        self.begun[version] = files
        if word == "published":
            self.versions += 1
            self.files += len(files)
            if version not in self.leaving:  # another pipe may be read first
                self.acknowledged[version] = files

    def note_death(self, worker: str) -> None:
        """Nobody keeps what *worker* had stored."""
        self.stored.pop(worker, None)
