"""``[[mirrors]]``: what is refused, where, and what a rule comes to."""

from pathlib import Path

import pytest

from hubsync.config.dump import toml_lines
from hubsync.config.load import example_text, load
from hubsync.config.mirrors import MirrorSettings, SearchSettings
from hubsync.config.rules import rules_of
from hubsync.model.errors import UsageError
from hubsync.model.repo import RepoType
from hubsync.sync.rules import Rule


def configure(folder: Path, text: str) -> Path:
    path = folder / "hubsync.toml"
    path.write_text(text, "utf-8")
    return path


def rules(folder: Path, text: str) -> list[Rule]:
    return rules_of(load(configure(folder, text), environ={}).settings)


GOOD = '[[mirrors]]\nname = "good"\nrepos = ["acme/one"]\n\n'

# Each is the second mirror of a file: what is wrong, in which of its lines, and why.
BROKEN = {
    'name = "a b"\nrepos = ["acme/x"]': (1, "mirrors.1.name = 'a b'"),
    'name = "A"\nrepos = ["acme/x"]': (1, "lower-case letters"),
    'repos = ["acme/x"]': (0, "mirrors.1.name: Field required"),
    'name = "b"': (0, "it selects nothing"),
    'name = "b"\nrepos = []': (0, "it selects nothing"),
    'name = "b"\nrepos = ["*/x"]': (2, "over the repos of one owner"),
    'name = "b"\nrepos = ["Qwen*"]': (2, "over the repos of one owner"),
    'name = "b"\nrepos = ["a/b/*"]': (2, "over the repos of one owner"),
    'name = "b"\nrepos = ["a/b/c"]': (2, "more than owner/name"),
    'name = "b"\nrepos = ["../etc"]': (2, "cannot understand the repo"),
    'name = "b"\nrepos = "acme/x"': (2, "mirrors.1.repos = 'acme/x'"),
    'name = "b"\nrepo = ["acme/x"]': (2, "unknown key mirrors.1.repo (did you mean"),
    'name = "b"\nrepos = ["a/x"]\ntype = "modell"': (3, "'model', 'dataset' or"),
    'name = "b"\nrepos = ["a/x"]\nupstream = "nobody"': (None, "is named 'nobody'"),
    'name = "b"\nrepos = ["a/x"]\nrevisions = []': (3, "at least 1 item"),
    'name = "b"\nrepos = ["a/x"]\nrevisions = ["a..b"]': (3, "not a revision"),
    'name = "b"\nrepos = ["a/x"]\npreset = "gguf"': (3, "not a preset"),
    'name = "b"\nrepos = ["a/x"]\npreset = "tokenizer-only"\ninclude = ["*"]': (
        0,
        "give either",
    ),
    'name = "b"\nrepos = ["a/x"]\nmax_repo_size = "20 GX"': (3, "mirrors.1.max_repo"),
    'name = "b"\nrepos = ["a/x"]\nskip_smudge = "perhaps"': (3, "valid boolean"),
    'name = "b"\ncollection = "no-owner"': (2, "a collection is named"),
    'name = "b"\nlist_file = "names.txt"': (2, "not an absolute path"),
    'name = "b"\nrepos = ["a/x"]\npriority = true': (3, "no value for this key"),
    'name = "b"\nsearch = { sort = "downloads" }': (2, "that is the whole hub"),
    'name = "b"\nsearch = { author = "x", sort = "size" }': (
        2,
        "mirrors.1.search.sort",
    ),
    'name = "b"\nsearch = { autor = "x" }': (2, "did you mean author?"),
    'name = "b"\n[mirrors.search]\nlimit = 0': (3, "mirrors.1.search.limit = 0"),
    'name = "good"\nrepos = ["a/x"]': (None, "two mirrors are named 'good'"),
}


@pytest.mark.parametrize("table", BROKEN)
def test_a_broken_mirror_is_refused_by_file_line_key_and_reason(
    tmp_path: Path, table: str
) -> None:
    line, said = BROKEN[table]
    path = configure(tmp_path, f"{GOOD}[[mirrors]]\n{table}\n")
    with pytest.raises(UsageError) as caught:
        load(path, environ={})
    where = path if line is None else f"{path}:{5 + line}:"
    assert str(where) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("key", MirrorSettings.model_fields)
def test_the_example_shows_each_key(key: str) -> None:
    name = MirrorSettings.model_fields[key].alias or key
    lines = example_text().splitlines()
    starts = ("[mirrors.search]",) if key == "search" else (f"{name} = ",)
    assert any(one.removeprefix("# ").startswith(starts) for one in lines)


@pytest.mark.parametrize("key", SearchSettings.model_fields)
def test_the_example_shows_each_key_of_a_search(key: str) -> None:
    after = example_text().partition("[mirrors.search]")[2]
    assert f"# {key} = " in after


def test_presets_and_searches_become_rules(tmp_path: Path) -> None:
    weights, data, gguf = rules(
        tmp_path,
        """
        [[mirrors]]
        name = "weights"
        repos = ["acme/*"]
        preset = "safetensors-only"
        priority = 2
        [[mirrors]]
        name = "data"
        type = "dataset"
        priority = 1
        [mirrors.search]
        language = "en"
        license = "mit"
        task = "text-classification"
        [[mirrors]]
        name = "gguf"
        repos = ["acme/*"]
        preset = "gguf:q4_k_m"
        """,
    )
    assert weights.selection.wants("model-00001-of-00002.safetensors")
    assert weights.selection.wants("config.json")
    assert not weights.selection.wants("pytorch_model.bin")
    assert not weights.selection.wants("onnx/model.json")
    assert data.repo_type is RepoType.DATASET
    assert set(data.searches[0].tags) == {
        "language:en",
        "license:mit",
        "task_categories:text-classification",
    }
    assert data.searches[0].task is None
    assert gguf.selection.wants("model-Q4_K_M.gguf")
    assert gguf.selection.wants("Q4_K_M/model-00001-of-00003.gguf")
    assert not gguf.selection.wants("model-Q8_0.gguf")


def test_a_rule_that_selects_other_files_has_another_key(tmp_path: Path) -> None:
    first, second, third = rules(
        tmp_path,
        '[[mirrors]]\nname = "a"\nrepos = ["a/x"]\n'
        '[[mirrors]]\nname = "b"\nrepos = ["a/x"]\nexclude = ["*.bin"]\n'
        '[[mirrors]]\nname = "c"\nrepos = ["a/y"]\n',
    )
    assert first.key != second.key
    assert first.key == third.key


def test_what_is_shown_of_mirrors_can_be_read_back(tmp_path: Path) -> None:
    text = (
        '[[mirrors]]\nname = "a"\nrepos = ["acme/*"]\nexcept = ["x"]\n'
        'max_repo_size = "20GiB"\n'
        '[[mirrors]]\nname = "b"\nsearch = { author = "x", limit = 3 }\n'
    )
    settings = load(configure(tmp_path, text), environ={}).settings
    dump = settings.model_dump(mode="json", by_alias=True)
    shown = "\n".join(toml_lines({"mirrors": dump["mirrors"]}, {}))
    again = load(configure(tmp_path, shown), environ={}).settings
    assert again.mirrors == settings.mirrors
