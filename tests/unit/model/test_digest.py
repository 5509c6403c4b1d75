"""Names of bytes have one grammar each."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.digest import Descriptor, Digest, GitOid, InvalidDigestError
from hubsync.model.errors import ExitCode

HEX64, HEX40 = "0123456789abcdef" * 4, "0123456789" * 4
NEARLY = ["", "g{}", "{}0", "{} ", " {}", "{}\n", "0x{}", "\N{FULLWIDTH DIGIT ONE}{}"]


@given(data=st.binary(max_size=300))
def test_a_digest_is_printed_and_parsed_back(data: bytes) -> None:
    digest = Digest.of(data)
    assert digest.hex == hashlib.sha256(data).hexdigest()
    assert str(digest) == f"sha256:{digest.hex}"
    assert Digest.parse(str(digest)) == Digest.parse(digest.hex) == digest


def _bad(good: str) -> list[str]:
    wrong = [text.format(good[1:]) for text in NEARLY[1:2] + NEARLY[7:]]
    wrong += [text.format(good) for text in NEARLY[:1] + NEARLY[2:7]]
    return [*wrong, good[1:], good.upper().replace("0", "A"), "/" * len(good)]


@pytest.mark.parametrize("text", _bad(HEX64))
def test_s5_what_is_not_64_hex_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest(text)
    assert caught.value.exit_code == ExitCode.INTEGRITY
    with pytest.raises(InvalidDigestError):
        Digest.parse(f"sha256:{text}")


@pytest.mark.parametrize("text", [f"md5:{HEX64}", f"SHA256:{HEX64}", f"sha256-{HEX64}"])
def test_a_digest_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigestError):
        Digest.parse(text)


@pytest.mark.parametrize("text", _bad(HEX40))
def test_what_is_not_40_hex_is_no_git_object_id(text: str) -> None:
    with pytest.raises(InvalidDigestError):
        GitOid(text)


def test_the_two_names_of_bytes_are_not_mistaken_for_each_other() -> None:
    with pytest.raises(InvalidDigestError):
        Digest(HEX40)
    with pytest.raises(InvalidDigestError):
        GitOid(HEX64)


def test_the_empty_blob_has_the_id_that_everybody_knows() -> None:
    assert GitOid.of_blob(b"").hex == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_a_message_about_a_long_name_stays_short() -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest("x" * 100_000)
    assert len(str(caught.value)) < 200


def test_a_descriptor_is_keyed_by_the_digest_where_there_is_one() -> None:
    digest, oid = Digest(HEX64), GitOid(HEX40)
    assert Descriptor(1, digest, oid).key == Descriptor(1, digest).key
    assert Descriptor(1, digest).key == f"sha256-{HEX64}"
    assert Descriptor(1, git_oid=oid).key == f"git-{HEX40}"
    assert str(Descriptor(1, git_oid=oid)) == f"git:{HEX40}"


def test_a_descriptor_that_names_nothing_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Descriptor(1)
    with pytest.raises(AssertionError):
        Descriptor(-1, Digest(HEX64))
