"""Which files of a folder are LFS files, by the rules of ``.gitattributes``."""

import re
from collections.abc import Sequence

# What the Hub writes into a new repo; used for a folder without the file.
HUB_LFS_PATTERNS = (
    *("*.7z", "*.arrow", "*.avro", "*.bin", "*.bz2", "*.ckpt", "*.ftz", "*.gguf"),
    *("*.gz", "*.h5", "*.joblib", "*.lfs.*", "*.mlmodel", "*.model", "*.msgpack"),
    *("*.npy", "*.npz", "*.onnx", "*.ot", "*.parquet", "*.pb", "*.pickle", "*.pkl"),
    *("*.pt", "*.pth", "*.rar", "*.safetensors", "saved_model/**/*", "*.tar.*"),
    *("*.tar", "*.tflite", "*.tgz", "*.wasm", "*.xz", "*.zip", "*.zst"),
    "*tfevents*",
)


class LfsRules:
    """Answers whether git would hand a path to git-lfs; the last match decides."""

    def __init__(self, rules: Sequence[tuple[str, bool]]) -> None:
        self._rules = [
            (pattern, lfs) for glob, lfs in rules if (pattern := _pattern(glob))
        ]

    def is_lfs(self, path: str) -> bool:
        decided = False
        for pattern, lfs in self._rules:
            if pattern.fullmatch(path):
                decided = lfs
        return decided


# Not a gitignore library: there, a match on a folder covers what is below it.
# Attributes of a folder mean nothing to the files in it.
_TOKEN = re.compile(
    r"^\*\*/|/\*\*$|/\*\*/|\*+|\?|\[[!^]?\]?(?:\[:\w+:\]|[^\]])*\]|\\.|.", re.DOTALL
)
_SPECIAL = re.compile(r"[*?\[\\]")
_STARS = re.compile(r"\*\*+")
_WILDCARDS = {
    "**/": "(?:.*/)?",
    "/**": "/.+",
    "/**/": "/(?:.*/)?",
    "?": "[^/]",
}
_CLASSES = {
    "[:space:]": r"\s",
    "[:digit:]": "0-9",
    "[:alpha:]": "A-Za-z",
    "[:alnum:]": "A-Za-z0-9",
    "[:lower:]": "a-z",
    "[:upper:]": "A-Z",
}


def _pattern(glob: str) -> re.Pattern[str] | None:
    """Git's pattern as a regular expression; None for one that no file matches."""
    if glob.endswith("/"):
        return None
    if "/" in glob:
        # Git compares what comes before the first wildcard as it is, and only the
        # rest is a pattern: two stars there are at its beginning.
        glob = glob.removeprefix("/")
        literal = _SPECIAL.split(glob, maxsplit=1)[0]
        start, glob = re.escape(literal), glob.removeprefix(literal)
        if _STARS.fullmatch(glob):
            return re.compile(f"{start}.*", re.DOTALL)
    else:
        start = "(?:.*/)?"  # it matches names, at any depth
    tokens = (found[0] for found in _TOKEN.finditer(glob))
    return re.compile(start + "".join(map(_translate, tokens)), re.DOTALL)


def _translate(token: str) -> str:
    if token in _WILDCARDS:
        return _WILDCARDS[token]
    if token[0] == "*":
        return "[^/]*"
    if token[0] == "[" and len(token) > 1:
        return _translate_set(token[1:-1])
    if token[0] == "\\" and len(token) > 1:
        return re.escape(token[1:])
    return re.escape(token)


def _translate_set(body: str) -> str:
    negated = body[:1] in ("!", "^")
    body = body[1:] if negated else body
    parts = re.split(r"(\[:\w+:\])", body)
    safe = "".join(
        _CLASSES.get(part, part)
        if part in _CLASSES
        else re.sub(r"([\\\[\]])", r"\\\1", part)
        for part in parts
    )
    return f"(?!/)[{'^' if negated else ''}{safe}]"


def parse_gitattributes(text: str) -> LfsRules:
    """The rules of one ``.gitattributes`` file at the top of a repo.

    Only the ``filter`` attribute counts.  Macros are not understood and skipped.
    """
    rules: list[tuple[str, bool]] = []
    for line in text.splitlines():
        glob, attributes = _split(line.strip())
        if not glob or glob.startswith(("#", "[attr]", "!")):
            continue
        for attribute in attributes:
            if attribute == "filter=lfs":
                rules.append((glob, True))
            elif attribute.lstrip("-!").partition("=")[0] == "filter":
                rules.append((glob, False))
    return LfsRules(rules)


def _split(line: str) -> tuple[str, list[str]]:
    if line.startswith('"') and '"' in line[1:]:
        glob, _, rest = line[1:].partition('"')
        return glob, rest.split()
    words = line.replace("[[:space:]]", "?").split()
    return (words[0], words[1:]) if words else ("", [])


def hub_default_rules() -> LfsRules:
    """The rules of a repo that has just been created on the Hub."""
    return LfsRules([(glob, True) for glob in HUB_LFS_PATTERNS])
