"""Certificates: given, made here, read again, refused."""

import ssl
import stat
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from hubsync.model.errors import ExitCode, UsageError
from hubsync.serve.certificate import (
    LIFE,
    CertificateError,
    names_of,
    self_signed,
)
from hubsync.serve.options import ServeOptions
from hubsync.serve.tls import Tls

NAMES = ["localhost", "127.0.0.1", "::1"]


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path / "tls", NAMES)
    before = cert.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert self_signed(tmp_path / "tls", ["localhost"]) == (cert, key)
    assert cert.read_bytes() == before
    assert not list((tmp_path / "tls").glob("*.new"))


def test_it_is_made_anew_for_another_name_and_near_its_end(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path / "tls", NAMES)
    secret = key.read_bytes()
    self_signed(tmp_path / "tls", ["mirror.example"])
    first = read(cert)
    found = first.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert {str(one.value) for one in found.value} == {*NAMES, "mirror.example"}
    later = datetime.now(UTC) + LIFE - timedelta(days=29)
    self_signed(tmp_path / "tls", NAMES, later)
    assert read(cert).not_valid_after_utc > first.not_valid_after_utc
    assert key.read_bytes() == secret


def test_openssl_takes_it_for_what_it_is(tmp_path: Path) -> None:
    cert, _ = self_signed(tmp_path / "tls", NAMES)
    strict = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    for name in (["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"]):
        command = [*strict, *name, "-CAfile", str(cert), str(cert)]
        subprocess.run(command, check=True, capture_output=True)
    wrong = [*strict, "-verify_hostname", "evil", "-CAfile", str(cert), str(cert)]
    assert subprocess.run(wrong, check=False, capture_output=True).returncode


def test_the_names_by_which_clients_may_come() -> None:
    options = ServeOptions(host="192.0.2.1", base_url="https://mirror.example:8443/")
    names = names_of(options)
    assert {"localhost", "192.0.2.1", "mirror.example"} <= set(names)
    assert "0.0.0.0" not in names_of(ServeOptions(host="0.0.0.0"))


def test_a_folder_that_cannot_be_written_or_has_rubbish(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CertificateError, match="cannot keep a certificate"):
        self_signed(file / "tls", NAMES)
    folder = tmp_path / "tls"
    _, key = self_signed(folder, NAMES)
    key.write_text("rubbish")
    with pytest.raises(CertificateError, match="cannot keep a certificate"):
        self_signed(folder, NAMES)


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path / "a", NAMES)
    _, other = self_signed(tmp_path / "b", NAMES)
    missing = tmp_path / "missing.pem"
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\n")
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkcs8", "-topk8", "-in", key, "-out", locked, "-passout"]
    subprocess.run([*map(str, command), "pass:x"], check=True, capture_output=True)
    for cert_path, key_path, said in (
        (cert, other, "does not belong to"),
        (missing, key, "serve.tls_cert: cannot read"),
        (cert, missing, "serve.tls_key: cannot read"),
        (rubbish, key, "no certificate and key in PEM"),
        (cert, None, "is no certificate and key in PEM"),
        (cert, locked, "without a password"),
        (None, key, "serve.tls_cert is not"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            Tls.of(ServeOptions(tls_cert=cert_path, tls_key=key_path))
        assert caught.value.exit_code is ExitCode.USAGE
        assert caught.value.hint
        assert str(caught.value).count(str(cert_path)) <= 1
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    assert Tls.of(ServeOptions(tls_cert=both))
    assert Tls.of(ServeOptions()) is None


def shown(tls: Tls) -> bytes:
    """The certificate that a new client gets to see."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    ours = client.wrap_bio(pipes[0], pipes[1])
    theirs = tls.context.wrap_bio(pipes[1], pipes[0], server_side=True)
    for _ in range(5):
        for side in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    found = ours.getpeercert(binary_form=True)
    assert found
    return found


def test_it_is_read_again_and_a_bad_one_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = self_signed(tmp_path / "tls", NAMES)
    tls = Tls(cert, key)
    first = shown(tls)
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    self_signed(tmp_path / "tls", ["mirror.example"])
    tls.reload()
    second = shown(tls)
    assert second != first
    cert.write_text("rubbish")
    tls.reload()
    assert shown(tls) == second
    assert "certificate refused" in caplog.text
