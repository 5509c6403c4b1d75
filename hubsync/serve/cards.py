"""What is said of a repo besides its files: the hub's card, or the README's."""

from collections.abc import Mapping, Sequence
from datetime import date

import yaml

from hubsync.catalog.rows import RepoRow
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobNotFoundError, BlobStore

FRONT_MATTER_BYTES_MAX = 64 * 1024
_MARK = b"---"


class _PlainLoader(yaml.SafeLoader):
    """No aliases: a few lines of them make gigabytes ("billion laughs")."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def card_of(
    row: RepoRow, entries: Sequence[HeldEntry], blobs: BlobStore
) -> Mapping[str, object]:
    """The hub's own card if it gave one, else what the README's front matter says."""
    card = {key: value for key, value in row.card.items() if "xet" not in key.lower()}
    if card:
        return card
    readme = next((one for one in entries if one.entry.path == "README.md"), None)
    data = _front_matter(readme, blobs) if readme and readme.digest else {}
    if not data:
        return {}
    found: dict[str, object] = {"cardData": data, "tags": _tags(data)}
    for key in ("pipeline_tag", "library_name"):
        if isinstance(data.get(key), str):
            found[key] = data[key]
    return found


def _front_matter(readme: HeldEntry, blobs: BlobStore) -> dict[str, object]:
    assert readme.digest
    try:
        with blobs.open(readme.digest) as file:
            head = file.read(FRONT_MATTER_BYTES_MAX)
    except BlobNotFoundError:
        return {}  # `verify` reports it; a listing must not fail for it
    if not head.startswith(_MARK):
        return {}
    text, mark, _ = head[len(_MARK) :].partition(b"\n" + _MARK)
    if not mark:
        return {}
    try:
        data = yaml.load(text.decode(), _PlainLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}  # somebody's typing error: the Hub shows such a card as empty too
    return _jsonable(data) if isinstance(data, dict) else {}


def _jsonable(data: Mapping[object, object]) -> dict[str, object]:
    return {str(key): _plain(value) for key, value in data.items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return _jsonable(value)
    if isinstance(value, list | tuple | set):
        return [_plain(one) for one in value]
    if isinstance(value, date | bytes):
        return str(value)
    return value


def _tags(data: Mapping[str, object]) -> list[str]:
    """Tags as the Hub derives them: the card's own, and licence, language, task."""
    found: list[str] = []
    for key, prefix in (
        ("tags", ""),
        ("library_name", ""),
        ("pipeline_tag", ""),
        ("language", ""),
        ("license", "license:"),
        ("datasets", "dataset:"),
        ("base_model", "base_model:"),
    ):
        value = data.get(key)
        values = value if isinstance(value, list) else [value]
        found += [f"{prefix}{one}" for one in values if isinstance(one, str)]
    return list(dict.fromkeys(found))
