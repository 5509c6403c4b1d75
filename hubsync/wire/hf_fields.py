"""Reading one field of a hub's JSON: its type, its grammar, or a `WireError`."""

from collections.abc import Mapping
from datetime import UTC, datetime

from hubsync.model.digest import Digest, GitOid, InvalidDigestError
from hubsync.model.errors import IntegrityError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT_MAX = 2**63 - 1  # what the catalog and the JSON writer can hold


class WireError(IntegrityError):
    """A hub's JSON lacks a field, or has it in a form that cannot be."""

    def __init__(self, field: str, why: str) -> None:
        self.field, self.why = field, why
        super().__init__(
            f"the hub's answer cannot be used: {field} {why}",
            hint="Nothing was recorded. Check that the endpoint is a model hub; "
            "if it is, report this to whoever runs it.",
        )


def read_object(obj: object, field: str) -> Mapping[str, object]:
    if not isinstance(obj, dict):
        raise WireError(field, f"is not an object: {_show(obj)}")
    return obj


def read_list(obj: object, field: str) -> list[object]:
    if not isinstance(obj, list):
        raise WireError(field, f"is not a list: {_show(obj)}")
    return obj


def read_text(obj: object, field: str) -> str:
    """A string that can be stored: no NUL, no half of a surrogate pair."""
    if not isinstance(obj, str):
        raise WireError(field, f"is not text: {_show(obj)}")
    if "\0" in obj or any("\ud800" <= char <= "\udfff" for char in obj):
        raise WireError(field, f"is not valid Unicode text: {_show(obj)}")
    return obj


def read_size(obj: object, field: str) -> int:
    # bool is an int in Python, and not in JSON.
    if not isinstance(obj, int) or isinstance(obj, bool) or not 0 <= obj <= INT_MAX:
        raise WireError(field, f"is not a size: {_show(obj)}")
    return obj


def read_oid(obj: object, field: str) -> GitOid:
    try:
        return GitOid(read_text(obj, field))
    except InvalidDigestError as error:
        raise WireError(field, f"is {error}") from None


def read_sha256(obj: object, field: str) -> Digest:
    try:
        return Digest(read_text(obj, field))
    except InvalidDigestError as error:
        raise WireError(field, f"is {error}") from None


def read_time(obj: object, field: str) -> datetime:
    try:
        when = datetime.fromisoformat(read_text(obj, field))
        if when.tzinfo is None:
            raise WireError(field, f"has no time zone: {_show(obj)}")
        return when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WireError(field, f"is not a time: {_show(obj)}") from None


def format_time(when: datetime) -> str:
    """``2026-01-02T03:04:05.000Z``: clients parse this form and no other."""
    text = when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{text}Z"


def check_storable(obj: object, field: str) -> None:
    """Raise unless *obj* (any JSON) can be written to a database and read back.

    A card is kept as it came, so nobody looks at its values one by one.
    """
    rest = [obj]
    while rest:  # no recursion: the depth is the sender's choice
        value = rest.pop()
        if isinstance(value, str):
            read_text(value, field)
        elif isinstance(value, dict):
            rest.extend(value)
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif isinstance(value, int) and not -INT_MAX <= value <= INT_MAX:
            raise WireError(field, "has a number of more than 64 bits")


def _show(obj: object) -> str:
    return "missing" if obj is None else repr(obj)[:80]
