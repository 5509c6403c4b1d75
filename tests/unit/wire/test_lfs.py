"""Pointers are what git-lfs writes, byte for byte."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.digest import Digest, GitOid
from hubsync.wire.lfs import POINTER_BYTES_MAX, emit_pointer, parse_pointer, pointer_oid

DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
CONTENTS = [b"", b"\0", b"hello\n", b"\r\n" * 600, bytes(range(256)) * 4096]
GOOD = emit_pointer(Digest("0" * 64), 12)

with_git_lfs = pytest.mark.skipif(not shutil.which("git-lfs"), reason="no git-lfs here")


@with_git_lfs
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_a_pointer_is_the_one_git_lfs_writes(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "content.bin"
    file.write_bytes(content)
    done = subprocess.run(
        ["git", "lfs", "pointer", "--file", str(file)],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert emit_pointer(Digest.of(content), len(content)) == done.stdout


@with_git_lfs
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_a_pointer_is_what_the_clean_filter_puts_into_git(
    tmp_path: Path, content: bytes
) -> None:
    subprocess.run(["git", "init", "-q"], check=True, cwd=tmp_path)
    done = subprocess.run(
        ["git", "lfs", "clean", "x.bin"],
        input=content,
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert emit_pointer(Digest.of(content), len(content)) == done.stdout


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_the_pointers_oid_is_what_git_calls_the_pointer(content: bytes) -> None:
    digest = Digest.of(content)
    done = subprocess.run(
        ["git", "hash-object", "--stdin"],
        input=emit_pointer(digest, len(content)),
        check=True,
        capture_output=True,
    )
    assert pointer_oid(digest, len(content)) == GitOid(done.stdout.decode().strip())


@given(digest=DIGESTS, size=st.integers(1, 2**63 - 1))
def test_a_pointer_reads_back(digest: Digest, size: int) -> None:
    pointer = emit_pointer(digest, size)
    assert len(pointer) < 200
    assert parse_pointer(pointer) == (digest, size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD + b"x",
        GOOD.replace(b"\n", b"\r\n"),
        b"\n" + GOOD,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"size 12", b"size 012"),
        GOOD.replace(b"size 12", b"size -1"),
        GOOD.replace(b"size 12", b"size 1e3"),
        GOOD.replace(b"size 12", b"size \xd9\xa1"),
        GOOD.replace(b"sha256", b"sha512"),
        GOOD.replace(b"0" * 64, b"0" * 63),
        GOOD.replace(b"0" * 64, b"A" * 64),
        GOOD.replace(b"https", b"http"),
        GOOD.replace(b"spec/v1", b"spec/v2"),
        GOOD.replace(b"oid ", b"oid  "),
        b"".join(reversed(GOOD.splitlines(keepends=True))),
        GOOD.replace(b"size 12", b"size " + b"9" * POINTER_BYTES_MAX),
    ],
)
def test_what_git_lfs_would_not_write_is_no_pointer(data: bytes) -> None:
    assert parse_pointer(data) is None


@given(data=st.binary(max_size=2000))
def test_content_is_never_taken_for_a_pointer_by_accident(data: bytes) -> None:
    assert parse_pointer(data) is None
    found = parse_pointer(GOOD[:20] + data)
    assert found is None or emit_pointer(*found) == GOOD[:20] + data


def test_the_oid_of_an_empty_lfs_file_is_the_empty_blob() -> None:
    empty = Digest(hashlib.sha256(b"").hexdigest())
    assert pointer_oid(empty, 0) == GitOid.of_blob(b"")
