"""Where a catalog is: the URL, understood and safe to print."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from hubsync.catalog.errors import CatalogAddressError

_FORMS = "sqlite:////folder/catalog.db or postgresql://user@host/database"
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class CatalogAddress:
    """*path* for SQLite, *url* for PostgreSQL; printed without the password."""

    url: URL
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> "CatalogAddress":
        """Understand *text*.

        Raises:
            CatalogAddressError: never repeating *text*, which may hold a password.
        """
        scheme, colon, rest = text.partition("://")
        if not colon:
            raise CatalogAddressError(
                "the catalog's address is not a URL", hint=f"Write it as {_FORMS}."
            )
        if scheme not in ("sqlite", *_POSTGRES):
            raise CatalogAddressError(
                f"no catalog can be kept in {scheme[:20]!r}",
                hint=f"Write it as {_FORMS}.",
            )
        if scheme != "sqlite" and rest.partition("?")[0].count("@") > 1:
            # It would be cut at the wrong place, and an error would then name
            # the rest of the password as the host.
            raise CatalogAddressError(
                "the catalog's address has more than one '@'",
                hint="Write special characters of the password as %40 and the like.",
            )
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise CatalogAddressError(
                "the catalog's address cannot be understood",
                hint=f"Write it as {_FORMS}.",
            ) from None
        if scheme != "sqlite":
            return cls(url.set(drivername="postgresql+psycopg"), None)
        if url.database in (None, "", ":memory:"):
            raise CatalogAddressError(
                "the catalog needs a file", hint=f"Write it as {_FORMS}."
            )
        return cls(url, Path(str(url.database)))

    def __str__(self) -> str:
        """For messages: no password, and no query, which may hold one as well."""
        if self.path is not None:
            return str(self.path)
        url = self.url
        shown = URL.create(
            "postgresql", url.username, None, url.host, url.port, url.database
        )
        return shown.render_as_string()


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite catalog at *path*, whatever characters it has."""
    return URL.create("sqlite", database=str(path)).render_as_string()
