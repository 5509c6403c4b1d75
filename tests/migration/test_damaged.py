"""0003: what is held stays held, and damage is remembered from now on."""

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog
from hubsync.model.digest import Digest
from tests.migration.test_schema import alembic
from tests.unit.catalog.making import held, lfs, plain, publish


def test_a_catalog_from_before_is_taken_as_undamaged(empty_url: str) -> None:
    with Catalog.open(empty_url) as catalog:
        catalog.record_blobs([held(b"1"), held(b"2", as_lfs=True)])
        one = publish(catalog, 1, [plain("a", b"1"), lfs("b", b"2"), lfs("c", b"3")])
        catalog.mark_lost(Digest.of(b"1"))
    alembic(empty_url, "downgrade", "0002")
    assert schema.upgrade(empty_url) == ("0002", schema.head())
    with Catalog.open(empty_url) as catalog:
        assert catalog.damaged() == []
        assert list(catalog.all_held()) == [held(b"2", as_lfs=True)]
        catalog.mark_lost(Digest.of(b"2"))
        assert [row.files for row in catalog.damaged()] == [
            ((one.repo, one.snapshot, "b"),)
        ]
