"""A store of one's own for each test of the command line."""

import shutil
from pathlib import Path

import pytest

from tests.unit.cli.harness import FILES, Cli, write


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """No store yet."""
    return Cli(tmp_path, tmp_path / "store")


@pytest.fixture(scope="session")
def added_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store with two versions of acme/model, and their commits."""
    tmp = tmp_path_factory.mktemp("added")
    cli = Cli(tmp, tmp / "store")
    folder = write(tmp / "folder", FILES)
    commits = [cli.good("add", folder, "acme/model", "-m", "one", "--json").object()]
    (folder / "config.json").write_bytes(b'{"better": true}\n')
    (folder / "sub/vocab.txt").unlink()
    (folder / "new.txt").write_bytes(b"new\n")
    commits.append(
        cli.good("add", folder, "acme/model", "-m", "two", "--json").object()
    )
    return cli.root, [one["commit"] for one in commits]


@pytest.fixture
def held(cli: Cli, added_once: tuple[Path, list[str]]) -> tuple[Cli, str, str]:
    """A store of this test's own with two commits of acme/model."""
    root, (first, second) = added_once
    # Hard links within the store must stay hard links, as cp -a keeps them.
    _copy(root, cli.root)
    return cli, first, second


def _copy(source: Path, target: Path) -> None:
    seen: dict[int, Path] = {}

    def place(old: str, new: str) -> str:
        inode = Path(old).stat().st_ino
        if inode in seen:
            Path(new).hardlink_to(seen[inode])
        else:
            shutil.copy2(old, new)
            seen[inode] = Path(new)
        return new

    shutil.copytree(source, target, symlinks=True, copy_function=place)
