"""Which files of a dataset make which configuration and split.

As the library ``datasets`` finds it (``data_files.py`` there): what the card's
``configs`` say, else by the names of files and folders.  The card is anybody's
text: nothing of it becomes a regular expression.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

Splits = dict[str, list[str]]
Configs = dict[str, Splits]
P = TypeVar("P")
T = TypeVar("T")

DEFAULT = "default"
_CONFIGS_MAX = 10_000
_PATTERNS_MAX = 10_000
_PATTERN_CHARS_MAX = 1000
_STAR = "**"
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_NAME = re.compile(r"\w+(?:\.\w+)*")
_SHARDED = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*")
_IN_FILE = {
    split: re.compile(rf"(?:^|.*[-._ 0-9])(?:{'|'.join(words)})[-._ 0-9].*")
    for split, words in _KEYWORDS.items()
}
_IN_FOLDER = {
    split: re.compile(rf"(?:^|.*[-._ 0-9])(?:{'|'.join(words)})(?:[-._ 0-9].*)?")
    for split, words in _KEYWORDS.items()
}
_CONVERTED = re.compile(r"([^/]+)/([^/]+)/\d+\.parquet")
_PARTIAL = "partial-"


def converted_files(paths: Iterable[str]) -> tuple[Configs, bool]:
    """``(files, whether some are not all of their split)`` of ``refs/convert/parquet``.

    They are ``{config}/{split}/0000.parquet``; ``partial-{split}`` where the Hub
    has converted the beginning only.
    """
    found: Configs = {}
    is_partial = False
    for path in sorted(paths):
        if named := _CONVERTED.fullmatch(path):
            split = named[2].removeprefix(_PARTIAL)
            is_partial |= split != named[2]
            found.setdefault(named[1], {}).setdefault(split, []).append(path)
    return found, is_partial


def own_files(paths: Iterable[str], card: Mapping[str, object]) -> Configs:
    """The configurations that a repo's own files make; *card* is its front matter."""
    files = sorted(paths)
    configs = card.get("configs")
    found: Configs = {}
    for one in configs[:_CONFIGS_MAX] if isinstance(configs, list) else ():
        if isinstance(one, dict) and isinstance(name := one.get("config_name"), str):
            splits = _of_config(one, files)
            if splits:
                found[name] = splits
    if found:
        return found
    splits = _by_name(files)
    return {DEFAULT: splits} if splits else {}


def _of_config(config: Mapping[str, object], files: Sequence[str]) -> Splits:
    folder = config.get("data_dir")
    prefix = f"{folder.strip('/')}/" if isinstance(folder, str) and folder else ""
    within = [path for path in files if path.startswith(prefix)]
    patterns = config.get("data_files")
    if patterns is None:
        named = _by_name([path.removeprefix(prefix) for path in within])
        return {
            split: [prefix + one for one in found] for split, found in named.items()
        }
    splits: Splits = {}
    for split, pattern in _patterns(patterns):
        matching = [path for path in within if matches(prefix + pattern, path)]
        known = splits.setdefault(split, [])
        known += [path for path in matching if path not in known]
    return {split: found for split, found in splits.items() if found}


def _patterns(said: object) -> Iterator[tuple[str, str]]:
    """``(split, pattern)`` of each way to write ``data_files``."""
    listed = said if isinstance(said, list) else [said]
    if isinstance(said, dict) and "path" not in said:
        listed = [{"split": split, "path": path} for split, path in said.items()]
    for one in listed[:_PATTERNS_MAX]:
        split, path = "train", one
        if isinstance(one, dict):
            split, path = str(one.get("split", "train")), one.get("path")
        for pattern in path if isinstance(path, list) else [path]:
            if isinstance(pattern, str) and _SPLIT_NAME.fullmatch(split):
                yield split, pattern.removeprefix("./")


def _by_name(files: Sequence[str]) -> Splits:
    splits: Splits = {}
    for path in files:
        if sharded := _SHARDED.fullmatch(path):
            splits.setdefault(sharded[1], []).append(path)
    if splits:
        return splits
    for kind in (_in_folder, _in_file):
        for split in _KEYWORDS:
            if found := [path for path in files if kind(split, path)]:
                splits[split] = found
        if splits:
            return splits
    return {"train": list(files)} if files else {}


def _in_folder(split: str, path: str) -> bool:
    return any(_IN_FOLDER[split].fullmatch(one) for one in path.split("/")[:-1])


def _in_file(split: str, path: str) -> bool:
    return _IN_FILE[split].fullmatch(path.rpartition("/")[2]) is not None


def matches(pattern: str, path: str) -> bool:
    """Whether *path* is one of *pattern*: ``*``, ``?``, ``[a-z]``, and ``**``.

    Takes as long as the product of their lengths, whatever the pattern.
    """
    if len(pattern) > _PATTERN_CHARS_MAX:
        return False
    folders = [one for one in pattern.split("/") if one]
    return _wild(folders, path.split("/"), _is_any_folder, _same_name)


def _is_any_folder(part: str) -> bool:
    return part == _STAR


def _same_name(pattern: str, name: str) -> bool:
    return _wild(_tokens(pattern), name, _is_any_text, _same_character)


def _tokens(pattern: str) -> list[str]:
    """``a``, ``?``, ``*``, and ``[…]`` as one."""
    found, at = [], 0
    while at < len(pattern):
        end = pattern.find("]", at + 2) if pattern[at] == "[" else -1
        stop = end + 1 if end > 0 else at + 1
        found.append(pattern[at:stop])
        at = stop
    return found


def _is_any_text(part: str) -> bool:
    return part == "*"


def _same_character(token: str, character: str) -> bool:
    if len(token) == 1:
        return token in ("?", character)
    inside = token[1:-1]
    negated = inside[:1] in ("!", "^")
    return _is_in(inside[1:] if negated else inside, character) is not negated


def _is_in(members: str, character: str) -> bool:
    at = 0
    while at < len(members):
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            if members[at] <= character <= members[at + 2]:
                return True
            at += 3
        elif members[at] == character:
            return True
        else:
            at += 1
    return False


def _wild(
    pattern: Sequence[P],
    items: Sequence[T],
    is_star: Callable[[P], bool],
    same: Callable[[P, T], bool],
) -> bool:
    """Whether all *items* match, a star any number of them.

    Of several stars it is enough to go back to the last.
    """
    at = here = 0
    star, resume = -1, 0
    while here < len(items):
        if at < len(pattern) and is_star(pattern[at]):
            star, resume = at, here
            at += 1
        elif at < len(pattern) and same(pattern[at], items[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return all(is_star(one) for one in pattern[at:])
