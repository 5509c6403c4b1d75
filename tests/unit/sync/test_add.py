"""A local folder becomes a commit: the one git would make."""

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import HubsyncError, UsageError
from hubsync.model.paths import HostilePathError
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.progress import SilentProgress
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.store.records import StoreRecords
from hubsync.sync import add
from hubsync.sync.add import AddRequest, AddResult, FileChangedError, add_folder
from hubsync.wire.gitobjects import tree_oids
from hubsync.wire.lfs import pointer_oid

REPO = RepoId("local", RepoType.MODEL, "acme/model")
FILES = {
    "README.md": b"# Acme\n",
    "a": b"file before a.b\n",
    "a.b": b"dotted\n",
    "a-b/c.txt": b"dashed\n",
    "sub/deep/er.json": b"{}\n",
    "weights.bin": b"not really weights\n",
    "empty": b"",
    "empty.bin": b"",
}


@dataclass
class Site:
    """One store with its catalog."""

    catalog: Catalog
    blobs: LocalBlobs

    @property
    def records(self) -> StoreRecords:
        return StoreRecords(self.blobs.root)

    def add(
        self, folder: Path, message: str = "one", branch: str = "main"
    ) -> AddResult:
        request = AddRequest(folder, REPO, message, author="ann", branch=branch)
        return add_folder(
            request, self.catalog, self.blobs, self.records, SilentProgress()
        )

    def entries(self, result: AddResult) -> dict[str, TreeEntry]:
        held = self.catalog.entries(result.published.snapshot)
        assert all(one.held for one in held)
        return {one.entry.path: one.entry for one in held}

    def is_empty(self) -> bool:
        return not self.catalog.repos()


@contextmanager
def open_site(path: Path) -> Iterator[Site]:
    root = StoreRoot.open(path, create=True)
    with Catalog.open(f"sqlite:///{path}/catalog.db") as catalog:
        yield Site(catalog, LocalBlobs(root))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "store") as site:
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "folder", FILES)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def git(folder: Path, *words: str, stdin: str = "") -> str:
    who = {"NAME": "hubsync", "EMAIL": "hubsync@localhost", "DATE": "@0 +0000"}
    env = {
        f"GIT_{role}_{key}": who[key] for role in ("AUTHOR", "COMMITTER") for key in who
    }
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env=os.environ | env | quiet,
        input=stdin,
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


def test_two_stores_that_add_one_folder_hold_one_commit(
    tmp_path: Path, folder: Path
) -> None:
    commits = []
    for name in ("north", "south"):
        copy = write(tmp_path / f"{name}-copy", dict(reversed(FILES.items())))
        with open_site(tmp_path / name) as site:
            commits.append(site.add(copy).published.snapshot.commit.oid)
    assert len(set(commits)) == 1


def test_the_tree_and_the_commit_are_the_ones_git_makes(
    site: Site, tmp_path: Path
) -> None:
    plain = {name: data for name, data in FILES.items() if not name.endswith(".bin")}
    folder = write(tmp_path / "plain", plain)
    result = site.add(folder, message="title\n\nbody")
    entries = site.entries(result)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    tree = git(folder, "write-tree")
    ours = tree_oids((path, entry.git_oid) for path, entry in entries.items())
    assert ours[""].hex == tree
    commit = git(folder, "commit-tree", tree, stdin="title\n\nbody\n")
    assert result.published.snapshot.commit.oid == commit


def test_with_lfs_the_tree_is_the_one_git_makes_of_the_pointers(
    site: Site, folder: Path, tmp_path: Path
) -> None:
    entries = site.entries(site.add(folder))
    in_git = tmp_path / "git"
    for path, data in FILES.items():
        entry = entries[path]
        kept = data
        if entry.lfs and data:
            kept = (
                b"version https://git-lfs.github.com/spec/v1\n"
                b"oid sha256:%s\nsize %d\n" % (Digest.of(data).hex.encode(), len(data))
            )
        write(in_git, {path: kept})
    git(in_git, "init", "-q")
    git(in_git, "add", "-A")
    ours = tree_oids((path, entry.git_oid) for path, entry in entries.items())
    assert ours[""].hex == git(in_git, "write-tree")


def test_every_byte_that_was_added_is_in_the_store(site: Site, folder: Path) -> None:
    result = site.add(folder)
    assert (result.files, result.bytes) == (len(FILES), sum(map(len, FILES.values())))
    for data in FILES.values():
        with site.blobs.open(Digest.of(data)) as file:
            assert file.read() == data


def test_adding_twice_changes_nothing(site: Site, folder: Path) -> None:
    first = site.add(folder)
    again = site.add(folder)
    assert first.published.new_commit
    assert not again.published.new_commit
    assert not again.published.moved
    assert again.bytes_stored == 0
    assert again.published.snapshot == first.published.snapshot
    assert len(site.catalog.snapshots(again.published.repo)) == 1


def test_a_changed_file_makes_a_new_commit_and_stores_only_itself(
    site: Site, folder: Path
) -> None:
    first = site.add(folder)
    (folder / "README.md").write_bytes(b"# Acme, better\n")
    second = site.add(folder)
    assert second.bytes_stored == len(b"# Acme, better\n")
    row = second.published.repo
    oids = [one.commit.oid for one in site.catalog.snapshots(row)]
    assert oids == [
        second.published.snapshot.commit.oid,
        first.published.snapshot.commit.oid,
    ]
    main = site.catalog.resolve(row, "main")
    assert main is not None
    assert main.commit.oid == oids[0]


def test_another_message_makes_another_commit_of_the_same_tree(
    site: Site, folder: Path
) -> None:
    first, second = site.add(folder, "one"), site.add(folder, "two")
    assert first.published.snapshot.commit.oid != second.published.snapshot.commit.oid
    assert site.entries(first) == site.entries(second)
    assert second.bytes_stored == 0


def test_a_branch_leaves_the_other_branches_where_they_are(
    site: Site, folder: Path
) -> None:
    first = site.add(folder)
    (folder / "extra").write_bytes(b"x")
    second = site.add(folder, branch="experiment")
    row = second.published.repo
    for revision, result in (("main", first), ("experiment", second)):
        found = site.catalog.resolve(row, revision)
        assert found is not None
        assert found.commit.oid == result.published.snapshot.commit.oid


def test_the_hubs_list_decides_without_a_gitattributes_file(
    site: Site, folder: Path
) -> None:
    entries = site.entries(site.add(folder))
    assert {path for path, entry in entries.items() if entry.lfs} == {
        "weights.bin",
        "empty.bin",
    }
    data = FILES["weights.bin"]
    assert entries["weights.bin"] == TreeEntry(
        "weights.bin",
        len(data),
        pointer_oid(Digest.of(data), len(data)),
        Digest.of(data),
    )
    assert entries["README.md"].git_oid == GitOid.of_blob(FILES["README.md"])


def test_a_gitattributes_file_decides_where_there_is_one(
    site: Site, folder: Path
) -> None:
    rules = b"*.md filter=lfs diff=lfs merge=lfs -text\n"
    write(folder, {".gitattributes": rules})
    entries = site.entries(site.add(folder))
    assert {path for path, entry in entries.items() if entry.lfs} == {"README.md"}
    assert not entries[".gitattributes"].lfs


def test_a_binary_file_goes_to_lfs_whatever_it_is_called(
    site: Site, folder: Path
) -> None:
    write(folder, {"blob": b"text\0more", "late": b"x" * 9000 + b"\0"})
    entries = site.entries(site.add(folder))
    assert entries["blob"].lfs
    assert not entries["late"].lfs  # git looks at the first 8000 bytes only


def test_a_large_text_goes_to_lfs_and_one_at_the_limit_does_not(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add, "PLAIN_BYTES_MAX", 100)
    write(folder, {"at.txt": b"x" * 100, "over.txt": b"x" * 101})
    entries = site.entries(site.add(folder))
    assert entries["over.txt"].lfs
    assert not entries["at.txt"].lfs


def test_one_content_may_be_a_plain_file_and_an_lfs_file(
    site: Site, tmp_path: Path
) -> None:
    folder = write(tmp_path / "both", {"a.txt": b"same", "b.bin": b"same"})
    result = site.add(folder)
    entries = site.entries(result)
    assert not entries["a.txt"].lfs
    assert entries["b.bin"].lfs == Digest.of(b"same")
    assert result.bytes_stored == 4


def test_a_link_to_a_file_is_followed(site: Site, folder: Path, tmp_path: Path) -> None:
    write(tmp_path, {"elsewhere": b"linked"})
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    entries = site.entries(site.add(folder))
    assert entries["link"].git_oid == GitOid.of_blob(b"linked")


def test_a_link_to_a_folder_is_refused(site: Site, folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    with pytest.raises(UsageError, match="link to a folder"):
        site.add(folder)
    assert site.is_empty()


def test_a_dangling_link_is_refused(site: Site, folder: Path) -> None:
    (folder / "gone").symlink_to("nowhere")
    with pytest.raises(UsageError, match="not a file"):
        site.add(folder)
    assert site.is_empty()


def test_a_link_that_leads_to_itself_is_refused(site: Site, folder: Path) -> None:
    (folder / "self").symlink_to("self")
    with pytest.raises(HubsyncError):
        site.add(folder)
    assert site.is_empty()


def test_a_socket_is_refused(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(UsageError, match="socket"):
            site.add(folder)
    assert site.is_empty()


def test_a_pipe_is_refused_and_not_waited_for(site: Site, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UsageError, match="not a file"):
        site.add(folder)


def test_a_pipe_for_gitattributes_is_refused_and_not_waited_for(
    site: Site, folder: Path
) -> None:
    os.mkfifo(folder / ".gitattributes")
    with pytest.raises(UsageError, match="not a file"):
        site.add(folder)


def test_what_git_and_clients_keep_for_themselves_is_left_out(
    site: Site, folder: Path
) -> None:
    write(
        folder,
        {
            ".git/config": b"[core]",
            "sub/.git/HEAD": b"ref",
            ".cache/huggingface/x": b"x",
            ".cache/other/kept": b"x",
            "sub/.cache/huggingface/kept": b"x",
        },
    )
    assert site.entries(site.add(folder)).keys() == {
        *FILES,
        ".cache/other/kept",
        "sub/.cache/huggingface/kept",
    }


def test_a_git_file_of_a_worktree_is_left_out(site: Site, folder: Path) -> None:
    """In a worktree or submodule ``.git`` is a file; git never adds it."""
    write(folder, {".git": b"gitdir: /elsewhere\n"})
    assert ".git" not in site.entries(site.add(folder))


@pytest.mark.parametrize("what", ["empty", "missing", "file", "only-git"])
def test_a_folder_without_files_is_refused(
    site: Site, tmp_path: Path, what: str
) -> None:
    target = tmp_path / what
    if what == "file":
        target.write_bytes(b"x")
    elif what != "missing":
        target.mkdir()
    if what == "only-git":
        write(target, {".git/config": b""})
    with pytest.raises(UsageError):
        site.add(target)
    assert site.is_empty()


@pytest.mark.parametrize("name", [b"a\\b", b"a\nb", b"\xff\xfe"], ids=ascii)
def test_a_name_that_no_repo_may_have_is_refused(
    site: Site, folder: Path, name: bytes
) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(b"x")
    with pytest.raises(HostilePathError):
        site.add(folder)
    assert site.is_empty()


def test_a_gitattributes_file_that_is_no_text_is_refused(
    site: Site, folder: Path
) -> None:
    write(folder, {".gitattributes": b"\xff\xfe"})
    with pytest.raises(UsageError, match="UTF-8"):
        site.add(folder)
    assert site.is_empty()


class Meddler(SilentProgress):
    """Appends to each file between the two times that it is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hashed: Path | None = None

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        if self._hashed is not None:
            with self._hashed.open("ab") as file:
                file.write(b"!")
        self._hashed = self._folder / path


def test_a_file_that_is_written_to_meanwhile_is_not_recorded(
    site: Site, folder: Path
) -> None:
    request = AddRequest(folder, REPO, "one")
    with pytest.raises(FileChangedError, match="changed"):
        add_folder(request, site.catalog, site.blobs, site.records, Meddler(folder))
    assert site.is_empty()


class Sums(SilentProgress):
    """Adds up what is told of each file."""

    def __init__(self) -> None:
        self.planned = 0
        self.sums: dict[str, int] = {}
        self.steps: Counter[str] = Counter()
        self.done: list[str] = []

    def plan(self, files: int, size_bytes: int, **_: int) -> None:
        self.planned = size_bytes

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        assert path not in self.sums, "once"
        self.sums[path] = offset

    def file_advanced(self, path: str, size_bytes: int) -> None:
        assert size_bytes >= 0
        self.sums[path] += size_bytes
        self.steps[path] += 1

    def file_done(self, path: str) -> None:
        self.done.append(path)


def test_progress_goes_on_while_a_file_is_hashed_and_while_it_is_copied(
    site: Site, tmp_path: Path
) -> None:
    sizes = {"large.bin": 20 * 2**20 + 1, "odd.txt": 7, "empty": 0}
    folder = write(tmp_path / "many", {name: b"x" * n for name, n in sizes.items()})
    for _ in ("new", "held"):
        seen = Sums()
        request = AddRequest(folder, REPO)
        add_folder(request, site.catalog, site.blobs, site.records, seen)
        assert seen.sums == sizes
        assert seen.planned == sum(sizes.values())
        assert sorted(seen.done) == sorted(sizes)
        assert seen.steps["large.bin"] > 20, "by the MiB at least"


def test_after_a_disturbed_attempt_the_folder_is_added_whole(
    site: Site, folder: Path
) -> None:
    with pytest.raises(FileChangedError):
        request = AddRequest(folder, REPO)
        add_folder(request, site.catalog, site.blobs, site.records, Meddler(folder))
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    assert site.entries(site.add(folder)).keys() == FILES.keys()


@pytest.mark.parametrize(
    ("message", "title", "body"),
    [
        ("one", "one", ""),
        ("one\n\ntwo\nthree", "one", "two\nthree"),
        ("  padded \n", "padded", ""),
        ("", "Add acme/model", ""),
    ],
)
def test_a_message_has_a_title_and_a_body(
    site: Site, folder: Path, message: str, title: str, body: str
) -> None:
    commit = site.add(folder, message).published.snapshot.commit
    assert (commit.title, commit.message, commit.authors) == (title, body, ("ann",))
