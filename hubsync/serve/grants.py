"""What the server signs: who shows it may read this, until then."""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from hubsync.model.repo import RepoId, RepoType
from hubsync.serve.options import ServeOptions

LIFE_S = 3600  # as long as the Hub's
LIFE_S_MIN = 120  # clients ask anew, file by file, for what ends within a minute
_PURPOSE = b"hubsync xet grant 2\0"  # a secret may sign other things besides
_CHARS_MAX = 2048  # names are short
_MAC_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Grant:
    """One commit of one repo may be read, or (*file*) of it the file of that hash.

    A digest alone grants nothing: who may read one repo must not read what
    another one holds by knowing what it hashes to.
    """

    repo: RepoId
    commit: str
    file: str | None
    expires_s: int  # since the epoch
    holder: int | None = None  # whose token it was given for, by number

    def allows(self, file: str) -> bool:
        return self.file in (None, file)


class Signer:
    """Signs grants and knows its own again.

    Those who share a secret know each other's: all processes of a server do.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        clock: Callable[[], float] = time.time,
        life_s: int = LIFE_S,
    ) -> None:
        self._secret, self._clock, self._life_s = secret, clock, life_s

    def grant(
        self,
        repo: RepoId,
        commit: str,
        file: str | None = None,
        holder: int | None = None,
    ) -> Grant:
        expires_s = int(self._clock()) + self._life_s
        return Grant(repo, commit, file, expires_s, holder)

    def sign(self, grant: Grant) -> str:
        """*grant* in characters that any URL and header may have."""
        repo = grant.repo
        said = orjson.dumps(
            [
                *(repo.upstream, repo.repo_type.value, repo.name),
                *(grant.commit, grant.file, grant.expires_s, grant.holder),
            ]
        )
        text = base64.urlsafe_b64encode(said + self._mac(said))
        return text.decode("ascii").rstrip("=")

    def read(self, text: str) -> Grant | None:
        """The grant that `sign` was given; None: not signed here, or expired."""
        if len(text) > _CHARS_MAX or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except binascii.Error:
            return None
        said, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(said)):
            return None
        upstream, repo_type, name, commit, file, expires_s, holder = orjson.loads(said)
        if expires_s <= self._clock():
            return None
        repo = RepoId(upstream, RepoType(repo_type), name)
        return Grant(repo, commit, file, expires_s, holder)

    def _mac(self, said: bytes) -> bytes:
        return hmac.digest(self._secret, _PURPOSE + said, "sha256")


def signer_of(options: ServeOptions) -> Signer:
    """The server's own; where an upstream decides, a grant ends soon after its yes."""
    if options.auth != "pass-through":
        return Signer(options.secret)
    life_s = max(int(options.auth_cache_s), LIFE_S_MIN)
    return Signer(options.secret, life_s=min(life_s, LIFE_S))
