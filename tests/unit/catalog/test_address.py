"""Where a catalog is."""

from pathlib import Path

import pytest

from hubsync.catalog.address import CatalogAddress, sqlite_url
from hubsync.catalog.errors import CatalogAddressError
from hubsync.model.errors import ExitCode


@pytest.mark.parametrize(
    "path", ["/a/catalog.db", "/a b/c?d/e#f/g%20h.db", "/x@y/ü.db", "relative.db"]
)
def test_any_file_name_can_be_written_as_a_url(path: str) -> None:
    address = CatalogAddress.parse(sqlite_url(Path(path)))
    assert address.path == Path(path)
    assert str(address) == path


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_means_psycopg(scheme: str) -> None:
    address = CatalogAddress.parse(f"{scheme}://me@host:5/base")
    assert address.path is None
    assert address.url.drivername == "postgresql+psycopg"


def test_a_printed_address_shows_no_password() -> None:
    text = "postgresql://me:hunter2@host/base?password=hunter3&sslmode=require"
    address = CatalogAddress.parse(text)
    assert str(address) == "postgresql://me@host/base"
    assert address.url.password == "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/var/lib/hubsync/catalog.db",
        "mysql://me:hunter2@host/base",
        "postgresql+asyncpg://me:hunter2@host/base",
        "postgresql://me:hun@ter2@host/base",
        "postgresql://me:hunter2@host:port/base",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_what_cannot_be_meant_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(CatalogAddressError) as refused:
        CatalogAddress.parse(text)
    assert refused.value.exit_code is ExitCode.USAGE
    assert refused.value.hint
    for part in ("hunter2", "ter2"):
        assert part not in f"{refused.value}{refused.value.hint}"
