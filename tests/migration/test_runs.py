"""0006: runs come and go, and take nothing with them."""

from sqlalchemy import inspect

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog
from tests.migration.test_drift import look
from tests.migration.test_schema import alembic
from tests.unit.catalog.making import plain, publish


def test_what_was_recorded_before_is_there_after_going_up_and_down_and_up(
    empty_url: str,
) -> None:
    with Catalog.open(empty_url) as catalog:
        published = publish(catalog, 1, [plain("a", b"1")])
    alembic(empty_url, "downgrade", "0005")
    assert schema.upgrade(empty_url) == ("0005", schema.head())
    with Catalog.open(empty_url) as catalog:
        assert catalog.repos() == [published.repo]
        assert catalog.runs.list() == []
        catalog.runs.begin("nightly", "command", catalog.open_lease("a run"))
    alembic(empty_url, "downgrade", "0005")
    tables = set(look(empty_url, lambda open_: inspect(open_).get_table_names()))
    assert not tables & {"runs", "run_repos", "mirror_repos"}
    schema.upgrade(empty_url)
    with Catalog.open(empty_url) as catalog:
        assert catalog.repos() == [published.repo]
        assert catalog.runs.list() == []
