"""verify beside a pull that mends what verify has just read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.model.digest import Descriptor, Digest
from hubsync.ports.blobs import HeldBlob
from hubsync.retention.verify import VerifyReport, verify
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.unit.catalog.making import lfs, publish

DATA = b"what was held" * 1000
DIGEST = Digest.of(DATA)


class Site:
    """A store with one blob, which is damaged, and recorded as held."""

    def __init__(self, root: StoreRoot, catalog: Catalog) -> None:
        self.blobs, self.catalog = LocalBlobs(root), catalog
        publish(catalog, 1, [lfs("w.bin", DATA)])
        self.bring_in()

    def bring_in(self) -> None:
        """As a pull does: the bytes, and then the row."""
        ingest = self.blobs.begin(Descriptor(len(DATA), DIGEST))
        assert ingest is not None
        assert not isinstance(ingest, HeldBlob)
        ingest.write(DATA)
        ingest.verify()
        self.blobs.publish([ingest])
        self.catalog.record_blobs([HeldBlob(DIGEST, len(DATA))])

    def damage(self, content: bytes) -> None:
        path = self.blobs.path(DIGEST)
        path.chmod(0o644)
        path.write_bytes(content)

    @contextmanager
    def pull_comes_first(self) -> Iterator[None]:
        """The views' lock, for which a pull was not kept waiting."""
        self.blobs.quarantine(DIGEST)  # or it is too short, and replaced
        self.bring_in()
        yield

    def verify(self) -> VerifyReport:
        return verify(
            self.catalog,
            self.blobs,
            [],
            [HeldBlob(DIGEST, len(DATA))],
            lambda _: None,
            lock_views=self.pull_comes_first,
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root = StoreRoot.open(tmp_path / "store", create=True)
    with Catalog.open(sqlite_url(root.catalog)) as catalog:
        yield Site(root, catalog)


@pytest.mark.parametrize("content", [b"short", DATA[::-1], None])
def test_what_a_pull_has_mended_meanwhile_is_left_alone(
    site: Site, content: bytes | None
) -> None:
    if content is None:
        site.blobs.path(DIGEST).unlink()
    else:
        site.damage(content)
    assert site.verify().damaged == ()
    assert site.blobs.has(DIGEST, len(DATA))
    assert DIGEST in site.catalog.held([DIGEST])
