"""0002: leases come and go, and take nothing with them."""

from sqlalchemy import inspect

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog
from hubsync.model.digest import Digest
from tests.migration.test_drift import look
from tests.migration.test_schema import alembic
from tests.unit.catalog.making import held, lfs, plain, publish


def test_what_was_recorded_before_is_there_after_going_up_and_down_and_up(
    empty_url: str,
) -> None:
    with Catalog.open(empty_url) as catalog:
        catalog.record_blobs([held(b"1")])
        published = publish(catalog, 1, [plain("a", b"1"), lfs("b", b"2")])
    # Today's code writes today's tables only; this is what the first release had.
    alembic(empty_url, "downgrade", "0001")

    def recorded(catalog: Catalog) -> None:
        assert catalog.repos() == [published.repo]
        assert len(catalog.entries(published.snapshot)) == 2
        assert list(catalog.all_held()) == [held(b"1")]

    assert schema.upgrade(empty_url) == ("0001", schema.head())
    with Catalog.open(empty_url) as catalog:
        recorded(catalog)
        lease = catalog.open_lease("a test")
        catalog.claim(lease, [Digest.of(b"1")])
    alembic(empty_url, "downgrade", "0001")
    tables = set(look(empty_url, lambda open_: inspect(open_).get_table_names()))
    assert not tables & {"leases", "lease_claims"}
    schema.upgrade(empty_url)
    with Catalog.open(empty_url) as catalog:
        recorded(catalog)
        assert catalog.leases() == []
