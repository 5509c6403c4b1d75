"""Small made-up files, the same for the same seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from hubsync.model.digest import Digest, GitOid
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.blobs import HeldBlob
from hubsync.wire.lfs import pointer_oid

FILES_MAX = 8  # of one version
SMALL_BYTES_MAX = 6_000
LARGE_BYTES_MAX = 400_000
COUNT = 40
LARGE_EVERY = 5


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one file, and how a tree names them."""

    data: bytes
    digest: Digest
    is_lfs: bool

    @property
    def held(self) -> HeldBlob:
        """As the store knows it once it is there."""
        oid = None if self.is_lfs else GitOid.of_blob(self.data)
        return HeldBlob(self.digest, len(self.data), oid)

    def entry(self, path: str) -> TreeEntry:
        size = len(self.data)
        if self.is_lfs:
            return TreeEntry(path, size, pointer_oid(self.digest, size), self.digest)
        return TreeEntry(path, size, GitOid.of_blob(self.data))


def make_contents(seed: int) -> Sequence[Content]:
    """Few enough that writers meet at the same blobs."""
    chance = Random(f"contents {seed}")
    made = []
    for number in range(COUNT):
        is_large = number % LARGE_EVERY == 0
        bytes_max = LARGE_BYTES_MAX if is_large else SMALL_BYTES_MAX
        data = chance.randbytes(chance.randrange(bytes_max))
        made.append(Content(data, Digest.of(data), is_lfs=number % 2 == 0))
    return made


def choose_files(contents: Sequence[Content], chance: Random) -> Mapping[str, Content]:
    """The files of one version, by path."""
    chosen = chance.sample(contents, chance.randint(1, FILES_MAX))
    return {f"folder/{number}.bin": one for number, one in enumerate(chosen)}
