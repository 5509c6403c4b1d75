"""What is said of a repo besides its files: the hub's card, or the README's."""

from collections.abc import Mapping

import yaml

from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobNotFoundError, BlobStore
from hubsync.wire.hf_fields import INT_MAX

FRONT_MATTER_BYTES_MAX = 64 * 1024
DEPTH_MAX = 20
_MARK = b"---"


class _PlainLoader(yaml.SafeLoader):
    """No aliases: a few lines of them make gigabytes ("billion laughs")."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def card_of(
    hub_card: Mapping[str, object], readme: HeldEntry | None, blobs: BlobStore
) -> Mapping[str, object]:
    """The hub's own card if it gave one, else what the README's front matter says."""
    if hub_card:
        # The mirror's files are fetched over plain HTTP, whatever the hub offers.
        return {k: value for k, value in hub_card.items() if "xet" not in k.lower()}
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
    plain = _plain(data, DEPTH_MAX)
    return plain if isinstance(plain, dict) else {}


def _plain(value: object, depth: int) -> object:
    """*value* as JSON can say it; what is nested deeper than *depth* is left out."""
    if isinstance(value, dict):
        below = value.items() if depth else ()
        return {_text(key): _plain(one, depth - 1) for key, one in below}
    if isinstance(value, list | tuple | set):
        return [_plain(one, depth - 1) for one in value] if depth else []
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -INT_MAX <= value <= INT_MAX:
        return value
    return _text(value)


def _text(value: object) -> str:
    """Without halves of surrogate pairs, which YAML can escape and UTF-8 cannot."""
    return str(value).encode(errors="replace").decode()


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
