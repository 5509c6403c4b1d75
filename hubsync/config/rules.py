"""From ``[[mirrors]]`` to the rules that are carried out."""

from collections.abc import Iterable

from hubsync.config.mirrors import (
    KeepSettings,
    MirrorSettings,
    SearchSettings,
    check_repo,
)
from hubsync.config.schema import Settings
from hubsync.daemon.timing import Timing
from hubsync.model.errors import UsageError
from hubsync.model.repo import RepoType
from hubsync.ports.listing import Search
from hubsync.retention.keep import KeepRule
from hubsync.sync.planner import Selection
from hubsync.sync.rules import Rule

# Weights that are there a second time beside safetensors, and what converts them.
_OTHER_WEIGHTS = (
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.ot", "*.onnx"),
    *("*.onnx_data", "*.gguf", "*.ggml", "*.tflite", "*.mlmodel", "*.npz", "*.nemo"),
    *("onnx/", "openvino/", "coreml/", "original/", "*.mlpackage/"),
)
_TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*"),
    *("merges.txt", "*.tiktoken", "*.model", "chat_template*", "config.json"),
    *("README.md", "LICENSE*"),
)
_BESIDE_GGUF = ("*.json", "*.jinja", "*.txt", "*.md", "LICENSE*", "*mmproj*.gguf")


def rules_of(settings: Settings, names: Iterable[str] = ()) -> list[Rule]:
    """The rules of the mirrors called *names*, of all if none is named.

    Raises:
        UsageError: there is none of that name, or a list file cannot be read.
    """
    mirrors = {one.name: one for one in settings.mirrors}
    chosen = list(dict.fromkeys(names)) or list(mirrors)
    for name in chosen:
        if name not in mirrors:
            known = ", ".join(mirrors) or "none"
            raise UsageError(
                f"no mirror is named {name!r} (configured: {known})",
                hint="Mirrors are [[mirrors]] tables of the configuration: "
                "hubsync config init --stdout explains them.",
            )
    rules = [rule_of(mirrors[name], settings.default_upstream) for name in chosen]
    return sorted(rules, key=lambda rule: -rule.priority)


def keep_rules_of(settings: Settings) -> dict[str, KeepRule | None]:
    """By mirror, what stays of its versions; None: everything."""
    return {one.name: _keep_rule(one.keep) for one in settings.mirrors}


def _keep_rule(said: KeepSettings | None) -> KeepRule | None:
    return KeepRule(said.last, said.within, said.tags) if said else None


def timing_of(mirror: MirrorSettings) -> Timing | None:
    """When *mirror* is due; None: only when somebody says so."""
    if mirror.schedule is None and mirror.every is None:
        return None
    return Timing(mirror.schedule, mirror.every, mirror.timezone, mirror.jitter)


def rule_of(mirror: MirrorSettings, default_upstream: str) -> Rule:
    """What *mirror* says, as a rule."""
    kind = RepoType(mirror.type)
    return Rule(
        name=mirror.name,
        upstream=mirror.upstream or default_upstream,
        repo_type=kind,
        repos=(*mirror.repos, *_listed(mirror)),
        searches=(_search(kind, mirror.search),) if mirror.search else (),
        collections=(mirror.collection,) if mirror.collection else (),
        without=mirror.except_,
        revisions=mirror.revisions,
        selection=_selection(mirror),
        selected_bytes_max=mirror.max_repo_size,
        gated=mirror.gated,
        license_allow=mirror.license_allow,
        license_deny=mirror.license_deny,
        priority=mirror.priority,
    )


def _listed(mirror: MirrorSettings) -> list[str]:
    """The names in its file: one a line, ``#`` begins a comment."""
    path = mirror.list_file
    if path is None:
        return []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"mirror {mirror.name!r}: cannot read its list_file {path}: {error}"
        ) from error
    found = []
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        try:
            found.append(check_repo(name))
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from error
    return found


def _search(kind: RepoType, said: SearchSettings) -> Search:
    tags = list(said.tags)
    if said.library:
        prefix = "library:" if kind is RepoType.DATASET else ""
        tags.append(f"{prefix}{said.library}")
    if said.language:
        prefix = "language:" if kind is RepoType.DATASET else ""
        tags.append(f"{prefix}{said.language}")
    if said.license:
        tags.append(f"license:{said.license}")
    task = said.task
    if task and kind is RepoType.DATASET:  # only models have a pipeline
        tags.append(f"task_categories:{task}")
        task = None
    return Search(
        author=said.author,
        text=said.text,
        task=task,
        tags=tuple(tags),
        gated=said.gated,
        sort=said.sort,
        limit=said.limit,
    )


def _selection(mirror: MirrorSettings) -> Selection:
    include, exclude = mirror.include, mirror.exclude
    if mirror.preset == "safetensors-only":
        exclude = _OTHER_WEIGHTS
    elif mirror.preset == "tokenizer-only":
        include = _TOKENIZER
    elif mirror.preset:
        kind = mirror.preset.partition(":")[2]
        cases = dict.fromkeys((kind, kind.upper(), kind.lower()))
        include = (*(f"*{one}*.gguf" for one in cases), *_BESIDE_GGUF)
    return Selection(include, exclude, skip_smudge=mirror.skip_smudge)
