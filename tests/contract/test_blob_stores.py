"""Every blob store keeps the promises of `BlobStore`."""

from pathlib import Path

import pytest

from hubsync.ports.blobs import BlobStore
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.contract.blob_store import BlobStoreContract


class TestLocalBlobs(BlobStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return LocalBlobs(StoreRoot.open(tmp_path / "store", create=True))


class TestLocalBlobsWithAReserve(BlobStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        root = StoreRoot.open(tmp_path / "store", create=True)
        return LocalBlobs(root, reserve_bytes=1)
