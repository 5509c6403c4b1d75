"""Thousands of repos in one bare repository, each in a namespace of refs."""

from collections.abc import Mapping
from pathlib import Path

from tests.testhub.git import MAIN, GitCommit, GitEntry, GitRepo, import_stream


class SharedGit:
    """The bare repository.  Its objects are everybody's; its refs are not."""

    def __init__(self, path: Path) -> None:
        self.git = GitRepo(path)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.git.init()
        self._known: dict[str, dict[str, str]] = {}  # namespace -> its refs

    def commit_all(
        self,
        contents: Mapping[str, Mapping[str, bytes]],
        *,
        message: str,
        author: str,
        timestamp: int,
    ) -> dict[str, str]:
        """One first commit on main for each namespace, by one process."""
        stream = [
            import_stream(
                _full(space, MAIN),
                None,
                files,
                message=f"{message}\n\n{space}",  # so that each is its own
                author=author,
                timestamp=timestamp + number,
            )
            for number, (space, files) in enumerate(contents.items())
        ]
        lines = self.git.run_import(b"".join(stream)).decode().split()
        heads = dict(zip(contents, lines, strict=True))
        for space, head in heads.items():
            self._known[space] = {MAIN: head}
        return heads

    def refs(self, space: str) -> dict[str, str]:
        if space not in self._known:
            prefix = _full(space, "")
            self._known[space] = {
                ref.removeprefix(prefix): sha
                for ref, sha in self.git.refs().items()
                if ref.startswith(prefix)
            }
        return dict(self._known[space])

    def note_ref(self, space: str, ref: str, sha: str | None) -> None:
        """*ref* has moved: to read all refs of all repos again takes its time."""
        refs = self.refs(space) | ({ref: sha} if sha else {})
        if sha is None:
            refs.pop(ref, None)
        self._known[space] = refs


class OneOfMany(GitRepo):
    """One namespace of a `SharedGit`, used as a repository of its own.

    A commit of a neighbour is found in it, too, by whoever knows its name.
    """

    def __init__(self, shared: SharedGit, space: str) -> None:
        super().__init__(shared.git.path)
        self._shared, self._space = shared, space

    def close(self) -> None:
        self._shared.git.close()

    def refs(self) -> dict[str, str]:
        return self._shared.refs(self._space)

    def set_ref(self, ref: str, sha: str) -> None:
        self._shared.git.set_ref(_full(self._space, ref), sha)
        self._shared.note_ref(self._space, ref, sha)

    def delete_ref(self, ref: str) -> None:
        self._shared.git.delete_ref(_full(self._space, ref))
        self._shared.note_ref(self._space, ref, None)

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
        sha = self._shared.git.commit(
            _full(self._space, ref),
            parent,
            files,
            message=message,
            author=author,
            timestamp=timestamp,
        )
        self._shared.note_ref(self._space, ref, sha)
        return sha

    def tree(self, sha: str) -> list[GitEntry]:
        return self._shared.git.tree(sha)

    def history(self, sha: str) -> list[GitCommit]:
        return self._shared.git.history(sha)

    def blob(self, oid: str) -> bytes:
        return self._shared.git.blob(oid)


def _full(space: str, ref: str) -> str:
    return f"refs/namespaces/{space}/{ref}"
