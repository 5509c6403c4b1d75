"""Every view keeps the promises of `View`."""

from pathlib import Path

import pytest

from hubsync.ports.blobs import BlobStore
from hubsync.ports.view import View
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.store.views.hf_cache import HfCacheView
from tests.contract.view import ViewContract


class TestHfCacheView(ViewContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> LocalBlobs:
        return LocalBlobs(StoreRoot.open(tmp_path / "store", create=True))

    @pytest.fixture
    def store(self, blobs: LocalBlobs) -> BlobStore:
        return blobs

    @pytest.fixture
    def view(self, blobs: LocalBlobs) -> View:
        return HfCacheView(blobs.root, blobs.path)
