"""Ingests blobs into the store given as argument; run by the crash tests.

Prints the digest of each blob once it is acknowledged.
"""

import random
import sys
from pathlib import Path

from hubsync.ports.blobs import HeldBlob
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.contract.made import by_digest, by_oid

SIZE_BYTES_MAX = 400_000
BLOCK_BYTES = 32_768


def content(seed: int) -> bytes:
    source = random.Random(seed)
    return source.randbytes(source.randrange(SIZE_BYTES_MAX))


def ingest(blobs: LocalBlobs, seed: int) -> str:
    """The hex digest of the blob, which is durable when this returns."""
    data = content(seed)
    want = by_oid(data) if seed % 3 == 0 else by_digest(data)
    ingest = blobs.begin(want)
    assert ingest is not None, "it waited"
    if isinstance(ingest, HeldBlob):
        return ingest.digest.hex
    for start in range(ingest.offset, len(data), BLOCK_BYTES):
        ingest.write(memoryview(data)[start : start + BLOCK_BYTES])
    return ingest.complete().digest.hex


def main() -> None:
    root, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    blobs = LocalBlobs(StoreRoot.open(root, create=False))
    print("ready", flush=True)  # noqa: T201 - read by the test
    for seed in range(first, last):
        print(ingest(blobs, seed), flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    main()
