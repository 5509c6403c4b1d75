"""What is said of a repo besides its files: the hub's card, or the README's."""

from collections.abc import Iterable, Mapping, Sequence

import orjson
import yaml

from hubsync.model.repo import RepoType
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobNotFoundError, BlobStore
from hubsync.wire.hf_fields import INT_MAX

FRONT_MATTER_BYTES_MAX = 64 * 1024
CONFIG_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 20
_NAMES_MAX = 20
_MARK = b"---"
_TOP_KEYS = {
    RepoType.MODEL: ("pipeline_tag", "library_name"),
    RepoType.DATASET: (),
    RepoType.SPACE: ("sdk",),
}
_FORMATS = {
    "pytorch": (".bin", ".pt", ".pth"),
    "tf": (".h5",),
    "jax": (".msgpack",),
    "tflite": (".tflite",),
    "onnx": (".onnx",),
    "safetensors": (".safetensors",),
    "gguf": (".gguf",),
}
_TAGGED = {
    RepoType.MODEL: (
        ("library_name", ""),
        ("formats", ""),
        ("model_type", ""),
        ("pipeline_tag", ""),
        ("tags", ""),
        ("language", ""),
        ("datasets", "dataset:"),
        ("base_model", "base_model:"),
        ("license", "license:"),
    ),
    RepoType.DATASET: (
        ("task_categories", "task_categories:"),
        ("task_ids", "task_ids:"),
        ("annotations_creators", "annotations_creators:"),
        ("language_creators", "language_creators:"),
        ("multilinguality", "multilinguality:"),
        ("source_datasets", "source_datasets:"),
        ("language", "language:"),
        ("license", "license:"),
        ("size_categories", "size_categories:"),
        ("tags", ""),
    ),
    RepoType.SPACE: (("sdk", ""), ("tags", ""), ("license", "license:")),
}


class _PlainLoader(yaml.SafeLoader):
    """No aliases: a few lines of them make gigabytes ("billion laughs")."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def hub_card(card: Mapping[str, object]) -> Mapping[str, object]:
    """The hub's own card; the mirror's files are had over plain HTTP, though."""
    return {k: value for k, value in card.items() if "xet" not in k.lower()}


READ = frozenset({"README.md", "config.json"})


def card_of(
    repo_type: RepoType, entries: Sequence[HeldEntry], blobs: BlobStore
) -> Mapping[str, object]:
    """What a repo that no hub describes says of itself: its README, its files."""
    files = {one.entry.path: one for one in entries}
    data = _front_matter(files.get("README.md"), blobs)
    found: dict[str, object] = {"cardData": data} if data else {}
    for key in _TOP_KEYS[repo_type]:
        if isinstance(data.get(key), str):
            found[key] = data[key]
    if repo_type is RepoType.MODEL:
        config = _config(files.get("config.json"), blobs)
        if config:
            found["config"] = config
        if "model_type" in config:
            found.setdefault("library_name", "transformers")
    tags = _tags(repo_type, found, data, files)
    return {**found, "tags": tags} if tags else found


def _config(file: HeldEntry | None, blobs: BlobStore) -> dict[str, object]:
    """Of ``config.json``, what the Hub shows of it."""
    try:
        config = orjson.loads(_head(file, blobs, CONFIG_BYTES_MAX))
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(config, dict):
        return {}
    found: dict[str, object] = {}
    names = config.get("architectures")
    if isinstance(names, list) and all(isinstance(one, str) for one in names):
        found["architectures"] = names[:_NAMES_MAX]
    if isinstance(config.get("model_type"), str):
        found["model_type"] = config["model_type"]
    return found


def _head(file: HeldEntry | None, blobs: BlobStore, length: int) -> bytes:
    if file is None or file.digest is None:
        return b""
    try:
        with blobs.open(file.digest) as opened:
            return opened.read(length)
    except (BlobNotFoundError, OSError):
        return b""  # `verify` reports it; a listing must not fail for it


def _front_matter(readme: HeldEntry | None, blobs: BlobStore) -> dict[str, object]:
    head = _head(readme, blobs, FRONT_MATTER_BYTES_MAX)
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


def _tags(
    repo_type: RepoType,
    found: Mapping[str, object],
    data: Mapping[str, object],
    files: Iterable[str],
) -> list[str]:
    """Tags as the Hub derives them, in its order: what it is, then what it says."""
    config = found.get("config")
    known = {
        **data,
        "library_name": found.get("library_name"),
        "model_type": config.get("model_type") if isinstance(config, dict) else None,
        "formats": _formats(files) if repo_type is RepoType.MODEL else None,
    }
    tags: list[str] = []
    for key, prefix in _TAGGED[repo_type]:
        value = known.get(key)
        values = value if isinstance(value, list) else [value]
        tags += [f"{prefix}{one}" for one in values if isinstance(one, str)]
    return list(dict.fromkeys(tags))


def _formats(files: Iterable[str]) -> list[str]:
    names = [path.rpartition("/")[2] for path in files]
    return [
        tag
        for tag, ends in _FORMATS.items()
        if any(name.lower().endswith(ends) for name in names)
    ]
