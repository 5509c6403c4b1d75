"""New is what never had a commit: not what was emptied."""

from hubsync.catalog.catalog import Catalog
from tests.unit.catalog.making import held, plain, publish


def test_a_catalog_is_new_until_something_is_recorded(catalog: Catalog) -> None:
    assert catalog.is_new()
    catalog.record_blobs([held(b"1")])
    assert not catalog.is_new()


def test_a_catalog_that_somebody_was_about_to_fill_is_not_new(catalog: Catalog) -> None:
    """A first pull that fails leaves blobs, and the next gc may delete them."""
    lease = catalog.open_lease("pull")
    assert not catalog.is_new()
    catalog.close_lease(lease)
    assert not catalog.is_new()
    publish(catalog, 1, [plain("a", b"1")])


def test_a_catalog_in_which_all_was_forgotten_is_not_new(catalog: Catalog) -> None:
    done = publish(catalog, 1, [plain("a", b"1")])
    catalog.forget(done.repo, None)
    assert not catalog.repos()
    assert not catalog.is_new()
