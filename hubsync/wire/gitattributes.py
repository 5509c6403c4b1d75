"""Which files of a folder are LFS files, by the rules of ``.gitattributes``."""

from collections.abc import Sequence

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

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
        self._rules = [(GitIgnoreSpecPattern(glob), lfs) for glob, lfs in rules]

    def is_lfs(self, path: str) -> bool:
        decided = False
        for pattern, lfs in self._rules:
            if pattern.match_file(path) is not None:
                decided = lfs
        return decided


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
            elif attribute in ("-filter", "!filter") or attribute.startswith("filter="):
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
