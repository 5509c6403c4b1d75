"""Column types that mean the same on SQLite and PostgreSQL."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")

# SQLite counts up by itself only in a column whose type is exactly INTEGER.
ID: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")

# Names and paths sort by their bytes, as git sorts them, whatever the locale of
# the server; it also lets PostgreSQL find "oid begins with" by index.
NAME: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")


def is_speakable(text: str) -> bool:
    """Whether both databases can take *text* as a parameter.

    PostgreSQL refuses NUL; neither takes a lone surrogate.  A look-up for such
    a name finds nothing, since no such name was ever recorded.
    """
    return not _UNSPEAKABLE.search(text)


def speakable(text: str) -> str:
    r"""*text* with what a database refuses replaced by U+FFFD."""
    return _UNSPEAKABLE.sub("\ufffd", text)


def as_utc(value: datetime | str) -> datetime:
    """An aware time from what either driver returns."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value.astimezone(UTC)


def dump_json(value: object) -> str:
    r"""JSON in ASCII: NUL and surrogates stay ``\u0000``, which any database takes."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, stored in UTC.  SQLite keeps it as text without an offset."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo, "a time without a zone means nothing"
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        del dialect
        return None if value is None else as_utc(value)


class FreeText(TypeDecorator[str]):
    """Text that someone else wrote and that nobody looks up byte for byte."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else speakable(value)


class JsonText(TypeDecorator[Any]):
    """A JSON value as text.

    Not the databases' own JSON types: jsonb refuses NUL and forgets the order
    of keys, which is part of what we serve again.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str:
        del dialect
        return dump_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        del dialect
        return None if value is None else json.loads(value)
