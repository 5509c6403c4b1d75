"""A certificate that signs itself, for who has no other.  Needs ``hubsync[tls]``.

It lives ten years: clients trust this very file, so each new one has to be brought
to all of them.  It is no authority (``CA:FALSE``): who trusts it trusts this
server, and nobody whom it could sign for.
"""

import ipaddress
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hubsync.model.errors import HubsyncError
from hubsync.serve.options import ServeOptions
from hubsync.serve.trust import EVERY_ADDRESS

LIFE = timedelta(days=3650)
RENEWED_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(days=1)  # a client whose clock is behind trusts it, too


class CertificateError(HubsyncError):
    """The certificate cannot be kept where it should be."""


def names_of(options: ServeOptions) -> list[str]:
    """Host names and addresses by which clients may reach us."""
    found = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    if options.host and options.host not in EVERY_ADDRESS:
        found.append(options.host)
    if options.base_url and (host := urlsplit(options.base_url).hostname):
        found.append(host)
    return list(dict.fromkeys(found))


def self_signed(
    folder: Path, names: Iterable[str], now: datetime | None = None
) -> tuple[Path, Path]:
    """``(certificate, key)`` in *folder*, made if they are not there yet.

    Made anew, with the same key, near its end or when *names* has one that it has
    not; those that it has stay.

    Raises:
        CertificateError: *folder* cannot be written, or has something else.
    """
    now = now or datetime.now(UTC)
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        key = _key(key_path)
        wanted = set(names)
        if cert_path.exists():
            held = x509.load_pem_x509_certificate(cert_path.read_bytes())
            has = _names_in(held)
            is_fresh = held.not_valid_after_utc - now > RENEWED_BEFORE
            if is_fresh and wanted <= has and held.public_key() == key.public_key():
                return cert_path, key_path
            wanted |= has
        pem = _signed(key, sorted(wanted), now).public_bytes(Encoding.PEM)
        _write(cert_path, pem, 0o644)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CertificateError(
            f"cannot keep a certificate in {folder}: {why}",
            hint="Remove what is there, or make one elsewhere and set tls_cert and "
            "tls_key.",
        ) from error
    return cert_path, key_path


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(path, pem, 0o600)
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is a key of another kind")  # noqa: TRY004 - of a file
    return key


def _names_in(cert: x509.Certificate) -> set[str]:
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(one.value) for one in names.value}


def _signed(
    key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hubsync")])
    public = key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([_general(name) for name in names]), False),
        # Strict clients, as Python's since 3.13, want both.
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFE)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put *data* there at once, never to be seen with another mode."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(file, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    new.rename(path)
