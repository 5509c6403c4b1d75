"""Plain files in a person's folder."""

from pathlib import Path

import pytest

from hubsync.model.digest import Digest
from hubsync.model.errors import ExitCode
from hubsync.wire.lfs import emit_pointer
from tests.unit.cli.harness import FILES, Cli, listing, read, write

Held = tuple[Cli, str, str]


def test_a_checkout_is_the_folder_that_was_added(held: Held) -> None:
    cli, first, _ = held
    out = cli.tmp / "out"
    done = cli.good("checkout", f"acme/model@{first}", out)
    assert done.out == f"{out}\n"
    assert read(out) == FILES
    assert all((out / name).stat().st_mode & 0o200 for name in FILES)


def test_a_checkout_without_a_revision_is_the_newest_of_main(held: Held) -> None:
    cli, _, _ = held
    cli.good("checkout", "acme/model", cli.tmp / "out")
    assert read(cli.tmp / "out").keys() == FILES.keys() - {"sub/vocab.txt"} | {
        "new.txt"
    }


def test_a_checkout_again_leaves_the_files_where_they_are(held: Held) -> None:
    cli, first, _ = held
    out = cli.tmp / "out"
    cli.good("checkout", f"acme/model@{first}", out)
    before = listing(out)
    cli.good("checkout", f"acme/model@{first}", out)
    assert listing(out) == before


def test_files_of_others_stay(held: Held) -> None:
    cli, first, _ = held
    write(cli.tmp / "out", {"notes.txt": b"mine"})
    cli.good("checkout", f"acme/model@{first}", cli.tmp / "out")
    assert read(cli.tmp / "out") == FILES | {"notes.txt": b"mine"}


def test_a_folder_with_other_content_is_refused_and_untouched(held: Held) -> None:
    cli, first, _ = held
    mine = {"config.json": b"mine", "notes.txt": b"mine"}
    out = write(cli.tmp / "out", mine)
    done = cli("checkout", f"acme/model@{first}", out)
    assert done.code == ExitCode.USAGE
    assert "config.json" in done.err
    assert "--force" in done.err
    assert read(out) == mine
    cli.good("checkout", f"acme/model@{first}", out, "--force")
    assert read(out) == FILES | {"notes.txt": b"mine"}


def test_a_target_that_is_a_file_is_refused(held: Held) -> None:
    cli, _, _ = held
    write(cli.tmp, {"out": b"mine"})
    assert cli("checkout", "acme/model", cli.tmp / "out").code == ExitCode.USAGE
    assert (cli.tmp / "out").read_bytes() == b"mine"


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
def test_a_link_in_the_folder_leads_nobody_out_of_it(
    held: Held, force: list[str]
) -> None:
    cli, first, _ = held
    outside = write(cli.tmp / "outside", {"keep": b"mine"})
    (cli.tmp / "out").mkdir()
    (cli.tmp / "out/sub").symlink_to(outside)
    done = cli("checkout", f"acme/model@{first}", cli.tmp / "out", *force)
    assert done.code == ExitCode.USAGE
    assert read(outside) == {"keep": b"mine"}


def test_a_link_in_place_of_a_file_is_replaced_only_by_force(held: Held) -> None:
    cli, first, _ = held
    write(cli.tmp, {"mine.json": b"mine"})
    (cli.tmp / "out").mkdir()
    (cli.tmp / "out/config.json").symlink_to(cli.tmp / "mine.json")
    words: list[str | Path] = ["checkout", f"acme/model@{first}", cli.tmp / "out"]
    assert cli(*words).code == ExitCode.USAGE
    cli.good(*words, "--force")
    assert not (cli.tmp / "out/config.json").is_symlink()
    assert (cli.tmp / "mine.json").read_bytes() == b"mine"


def test_link_shares_bytes_with_the_store(held: Held) -> None:
    cli, first, _ = held
    out = cli.tmp / "out"
    cli.good("checkout", f"acme/model@{first}", out, "--link")
    assert read(out) == FILES
    inodes = {path.stat().st_ino for path in cli.blobs()}
    for name in FILES:
        stat = (out / name).stat()
        if stat.st_ino in inodes:  # a hard link, not a reflink
            assert not stat.st_mode & 0o222


def test_skip_smudge_leaves_pointers(held: Held) -> None:
    cli, first, _ = held
    out = cli.tmp / "out"
    found = cli.good(
        "checkout", f"acme/model@{first}", out, "--skip-smudge", "--json"
    ).object()
    data = FILES["weights.bin"]
    assert found["pointers"] == 1
    assert read(out) == FILES | {
        "weights.bin": emit_pointer(Digest.of(data), len(data))
    }


def test_pointers_become_contents_only_by_force(held: Held) -> None:
    """A pointer that was checked out counts as other content."""
    cli, first, _ = held
    words: list[str | Path] = ["checkout", f"acme/model@{first}", cli.tmp / "out"]
    cli.good(*words, "--skip-smudge")
    assert cli(*words).code == ExitCode.USAGE
    cli.good(*words, "--force")
    assert read(cli.tmp / "out") == FILES


def test_a_damaged_blob_is_not_checked_out(held: Held) -> None:
    cli, first, _ = held
    name = Digest.of(FILES["weights.bin"]).hex
    blob = cli.root / "blobs/sha256" / name[:2] / name[2:4] / name
    blob.chmod(0o600)
    blob.write_bytes(b"W" + FILES["weights.bin"][1:])
    done = cli("checkout", f"acme/model@{first}", cli.tmp / "out")
    assert done.code == ExitCode.INTEGRITY
    assert "verify" in done.err
    assert not (cli.tmp / "out/weights.bin").exists()
    assert list((cli.tmp / "out").rglob("*.hubsync")) == []


@pytest.mark.parametrize("name", ["CON", "a:b", "a.", "sub/.GIT/config"])
def test_a_name_that_means_something_else_in_a_folder_is_not_written(
    cli: Cli, name: str
) -> None:
    folder = write(cli.tmp / "folder", {"x": b"x"})
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"y")
    cli.good("add", folder, "acme/odd")
    done = cli("checkout", "acme/odd", cli.tmp / "out")
    assert done.code == ExitCode.INTEGRITY
    assert not Path(cli.tmp / "out").exists()


def test_names_that_differ_in_case_only_are_not_written(cli: Cli) -> None:
    folder = write(cli.tmp / "folder", {"a.txt": b"1", "A.txt": b"2"})
    cli.good("add", folder, "acme/odd")
    done = cli("checkout", "acme/odd", cli.tmp / "out")
    assert done.code == ExitCode.USAGE
    assert not (cli.tmp / "out").exists()


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
@pytest.mark.parametrize(
    "place", ["store", "store/new", "store/hub", "store/blobs/sha256", ".", "links/way"]
)
def test_no_checkout_goes_into_the_store_or_around_it(
    held: Held, place: str, force: list[str]
) -> None:
    """A repo may have a file named VERSION, LOCK or catalog.db."""
    cli, first, _ = held
    (cli.tmp / "links").mkdir()
    (cli.tmp / "links/way").symlink_to(cli.root / "hub")
    before = listing(cli.root)
    done = cli("checkout", f"acme/model@{first}", cli.tmp / place, *force)
    assert done.code == ExitCode.USAGE
    assert "store" in done.err
    assert listing(cli.root) == before
    assert not (cli.root / "new").exists()


def test_a_store_that_is_a_link_is_recognized(held: Held) -> None:
    cli, first, _ = held
    (cli.tmp / "elsewhere").symlink_to(cli.root)
    linked = Cli(cli.tmp, cli.tmp / "elsewhere")
    before = listing(cli.root)
    for place in ("store/new", "elsewhere/new", "."):
        done = linked("checkout", f"acme/model@{first}", cli.tmp / place, "--force")
        assert done.code == ExitCode.USAGE
    assert listing(cli.root) == before


@pytest.mark.parametrize("place", ["store", "store/hub", "."])
def test_a_store_is_not_added_to_itself(held: Held, place: str) -> None:
    cli, _, _ = held
    before = listing(cli.root)
    done = cli("add", cli.tmp / place, "acme/all")
    assert done.code == ExitCode.USAGE
    assert "checkout" in done.err
    assert listing(cli.root) == before
