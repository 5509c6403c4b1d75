"""0005: tokens come and go, and take nothing with them."""

from sqlalchemy import inspect

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog
from hubsync.catalog.tokens import TokenGrant
from hubsync.model.token import digest_of, new_token
from tests.migration.test_drift import look
from tests.migration.test_schema import alembic
from tests.unit.catalog.making import plain, publish


def test_what_was_recorded_before_is_there_after_going_up_and_down_and_up(
    empty_url: str,
) -> None:
    with Catalog.open(empty_url) as catalog:
        published = publish(catalog, 1, [plain("a", b"1")])
    alembic(empty_url, "downgrade", "0004")
    assert schema.upgrade(empty_url) == ("0004", schema.head())
    with Catalog.open(empty_url) as catalog:
        assert catalog.repos() == [published.repo]
        assert list(catalog.tokens()) == []
        catalog.add_token("ci", digest_of(new_token()), TokenGrant())
    alembic(empty_url, "downgrade", "0004")
    tables = look(empty_url, lambda open_: inspect(open_).get_table_names())
    assert "tokens" not in tables
    schema.upgrade(empty_url)
    with Catalog.open(empty_url) as catalog:
        assert catalog.repos() == [published.repo]
        assert list(catalog.tokens()) == []
