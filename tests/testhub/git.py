"""One bare git repository, driven through the git command line."""

import os
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MAIN = "refs/heads/main"
_ENV = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}
_CACHE_BYTES_MAX = 128 * 1024 * 1024
_CACHED_BLOB_BYTES_MAX = 4 * 1024 * 1024


class GitError(Exception):
    """Git refused a command: a bug in a test, or in the test hub."""


@dataclass(frozen=True, slots=True)
class GitEntry:
    """One line of ``git ls-tree -r -t -l``; *size* is 0 for a directory."""

    path: str
    oid: str
    size: int
    is_directory: bool


@dataclass(frozen=True, slots=True)
class GitCommit:
    """What the commit list shows; *body* is all that follows the first line."""

    sha: str
    title: str
    body: str
    author: str
    timestamp: int


class GitRepo:
    """A bare repository.  Objects are immutable, so blobs are cached for ever."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._reader: subprocess.Popen[bytes] | None = None
        self._blobs: dict[str, bytes] = {}
        self._cached_bytes = 0
        # Read once, as nobody else writes: (how many changes ago, what they were).
        self._refs: tuple[int, dict[str, str]] = (-1, {})
        self._changes = 0

    def init(self) -> None:
        command = ["init", "--quiet", "--bare", "--initial-branch=main", str(self.path)]
        self._run(command, in_repo=False)

    def close(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._reader.communicate()
                self._reader = None

    def _run(
        self, command: list[str], stdin: bytes = b"", *, in_repo: bool = True
    ) -> bytes:
        where = ["--git-dir", str(self.path)] if in_repo else []
        done = subprocess.run(
            ["git", *where, *command],
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, **_ENV},
        )
        if done.returncode != 0:
            raise GitError(f"git {command}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def refs(self) -> dict[str, str]:
        """Every ref and the commit it points at."""
        changes, found = self._refs
        if changes != self._changes:
            changes = self._changes
            lines = self._run(["for-each-ref", "--format=%(refname) %(objectname)"])
            pairs = (line.rsplit(" ", 1) for line in lines.decode().splitlines())
            found = {name: sha for name, sha in pairs}  # noqa: C416 - pairs are lists
            self._refs = changes, found
        return dict(found)

    def set_ref(self, ref: str, sha: str) -> None:
        self._run(["update-ref", ref, sha])
        self._changes += 1

    def delete_ref(self, ref: str) -> None:
        self._run(["update-ref", "-d", ref])
        self._changes += 1

    def find_commit(self, hex_prefix: str) -> str | None:
        """The full sha of the one commit that starts with *hex_prefix*."""
        spec = f"{hex_prefix}^{{commit}}"
        done = subprocess.run(
            [
                "git",
                "--git-dir",
                str(self.path),
                "rev-parse",
                "--quiet",
                "--verify",
                spec,
            ],
            capture_output=True,
            check=False,
            env={**os.environ, **_ENV},
        )
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def commit(
        self,
        ref: str,
        parent: str | None,
        files: Mapping[str, bytes | None],
        *,
        message: str,
        author: str,
        timestamp: int,
    ) -> str:
        """Write one commit on top of *parent* and move *ref* to it; None deletes."""
        stream = import_stream(
            ref, parent, files, message=message, author=author, timestamp=timestamp
        )
        return self.run_import(stream).decode().strip()

    def run_import(self, stream: bytes) -> bytes:
        """Commit what `import_stream` says, and say the names of the commits."""
        importing = ["fast-import", "--quiet", "--force", "--done"]
        said = self._run(importing, stream + b"done\n")
        self._changes += 1
        return said

    def tree(self, sha: str) -> list[GitEntry]:
        """All files and directories of a commit; submodules are left out."""
        listing = self._run(["ls-tree", "-r", "-t", "-l", "-z", "--full-tree", sha])
        entries = []
        for line in listing.split(b"\0")[:-1]:
            head, path = line.split(b"\t", 1)
            _, kind, oid, size = head.split()
            if kind != b"commit":
                entries.append(
                    GitEntry(
                        path=path.decode(),
                        oid=oid.decode(),
                        size=0 if kind == b"tree" else int(size),
                        is_directory=kind == b"tree",
                    )
                )
        return entries

    def root_tree(self, sha: str) -> str:
        return self._run(["rev-parse", f"{sha}^{{tree}}"]).decode().strip()

    def history(self, sha: str) -> list[GitCommit]:
        """The commits reachable from *sha*, newest first."""
        form = "--format=%H%x00%an%x00%ct%x00%B%x01"
        text = self._run(["log", form, sha]).decode()
        commits = []
        for record in text.split("\x01")[:-1]:
            commit, author, timestamp, message = record.lstrip("\n").split("\0", 3)
            title, _, _ = message.partition("\n")
            rest = message[len(title) :]
            body = rest if rest.strip() else ""
            commits.append(GitCommit(commit, title, body, author, int(timestamp)))
        return commits

    def last_touched(self, sha: str) -> dict[str, str]:
        """Path (files and directories) to the newest commit that changed it."""
        command = ["log", "--format=%x01%H", "--raw", "-t", "-z", "--no-renames", sha]
        touched: dict[str, str] = {}
        for record in self._run(command).split(b"\x01")[1:]:
            commit = record[:40].decode()
            fields = record[40:].strip(b"\0\n").split(b"\0")
            paths = (field for field in fields if field and not field.startswith(b":"))
            for path in paths:
                touched.setdefault(path.decode(), commit)
        return touched

    def blob(self, oid: str) -> bytes:
        """The content of one blob, through a ``cat-file`` that stays open."""
        with self._lock:
            if oid in self._blobs:
                return self._blobs[oid]
            data = self._read_blob(oid)
            if len(data) <= _CACHED_BLOB_BYTES_MAX:
                if self._cached_bytes > _CACHE_BYTES_MAX:
                    self._blobs.clear()
                    self._cached_bytes = 0
                self._blobs[oid] = data
                self._cached_bytes += len(data)
            return data

    def blobs(self, oids: Iterable[str]) -> dict[str, bytes]:
        """Many small blobs with one process."""
        wanted = list(dict.fromkeys(oids))
        if not wanted:
            return {}
        output = self._run(["cat-file", "--batch"], "\n".join(wanted).encode() + b"\n")
        found, position = {}, 0
        for oid in wanted:
            end = output.index(b"\n", position)
            size = int(output[position:end].split()[2])
            found[oid] = output[end + 1 : end + 1 + size]
            position = end + size + 2
        return found

    def _read_blob(self, oid: str) -> bytes:
        if self._reader is None:
            self._reader = subprocess.Popen(
                ["git", "--git-dir", str(self.path), "cat-file", "--batch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **_ENV},
            )
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        self._reader.stdin.write(oid.encode() + b"\n")
        self._reader.stdin.flush()
        header = self._reader.stdout.readline().split()
        if len(header) != 3:
            raise GitError(f"no blob {oid}: {header!r}")
        data = self._reader.stdout.read(int(header[2]) + 1)
        return data[:-1]


def import_stream(
    ref: str,
    parent: str | None,
    files: Mapping[str, bytes | None],
    *,
    message: str,
    author: str,
    timestamp: int,
) -> bytes:
    """One commit as ``git fast-import`` reads it."""
    who = f"{author} <{author}@users.noreply.invalid> {timestamp} +0000"
    text = message.encode()
    stream = [f"commit {ref}\nmark :1\nauthor {who}\ncommitter {who}\n".encode()]
    stream.append(b"data %d\n%s\n" % (len(text), text))
    if parent is not None:
        stream.append(f"from {parent}\n".encode())
    for path, data in files.items():
        if data is None:
            stream.append(b"D %s\n" % _quoted(path))
        else:
            stream.append(b"M 100644 inline %s\n" % _quoted(path))
            stream.append(b"data %d\n%s\n" % (len(data), data))
    stream.append(b"get-mark :1\n")
    return b"".join(stream)


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode()
