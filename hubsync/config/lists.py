"""Lists in environment variables, which hold text: ``a,b``, or JSON."""

import json
from typing import get_origin

from pydantic import BaseModel

from hubsync.config.schema import Settings
from hubsync.model.errors import UsageError


def is_list(keys: list[str]) -> bool:
    """Whether the setting at *keys* is a list: ``["serve", "allow"]``."""
    model: type[BaseModel] = Settings
    for key in keys[:-1]:
        field = model.model_fields.get(key)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return False
        model = inner
    field = model.model_fields.get(keys[-1])
    return field is not None and get_origin(field.annotation) is tuple


def read_list(text: str) -> list[str]:
    """The items of *text*; none of an empty one.

    Raises:
        UsageError: it begins as JSON does, and is no list of texts.
    """
    text = text.strip()
    if not text.startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UsageError(
            f"not a list of texts: {text[:200]!r}",
            hint='Write a,b or, as JSON, ["a", "b"].',
        )
    return found
