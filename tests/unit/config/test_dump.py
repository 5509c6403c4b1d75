"""What is shown of the configuration is what it takes."""

import tomllib
from pathlib import Path

import pytest

from hubsync.config.dump import toml_lines
from hubsync.config.load import Loaded, load

WHOLE = """
[store]
trash_keep = "7d"
views = []
[catalog]
url = "postgresql+psycopg://db.example/hubsync"
[upstreams.inner-hub]
endpoint = "http://hub.example:8090"
token_file = "/run/a \\"b\\" \\u007f \\\\ ü"
[upstreams.huggingface]
[transfer]
rate_limit = "50MB/s"
read_timeout = "1.5s"
[serve]
access_log = true
allow = ["org/*", "other/*"]
"""


@pytest.fixture(autouse=True)
def _nothing_found_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def loaded_from(folder: Path, text: str) -> Loaded:
    file = folder / "given.toml"
    file.write_text(text, "utf-8")
    return load(file, environ={})


def shown(loaded: Loaded) -> list[str]:
    return [*toml_lines(loaded.settings.model_dump(mode="json"), loaded.origins)]


@pytest.mark.parametrize("text", ["", WHOLE])
def test_what_is_shown_reads_as_what_it_was(tmp_path: Path, text: str) -> None:
    loaded = loaded_from(tmp_path, text)
    lines = shown(loaded)
    assert loaded_from(tmp_path, "\n".join(lines)).settings == loaded.settings


@pytest.mark.parametrize("text", ["", WHOLE])
def test_each_line_can_be_taken_alone(tmp_path: Path, text: str) -> None:
    for line in shown(loaded_from(tmp_path, text)):
        loaded_from(tmp_path, line)


def test_lines_are_those_that_people_write_and_say_where_they_are_from(
    tmp_path: Path,
) -> None:
    lines = shown(loaded_from(tmp_path, WHOLE))
    given = f"    # {tmp_path / 'given.toml'}"
    assert f'transfer.read_timeout = "1.5s"{given}' in lines
    assert f"serve.access_log = true{given}" in lines
    assert f'serve.allow = ["org/*", "other/*"]{given}' in lines
    assert f"store.views = []{given}" in lines
    assert 'transfer.stall_timeout = "10m"    # default' in lines
    assert "# serve.base_url is unset    # default" in lines


def test_a_list_of_tables_is_shown_as_tables() -> None:
    rule = {"name": "a", "repos": ["org/*"], "every": 21600.0, "revision": None}
    tree = {"rules": [rule, {"name": "b", "only": {"lfs": True}}], "serve": {"port": 1}}
    lines = [*toml_lines(tree, {"rules": "given.toml"})]
    assert lines == [
        "serve.port = 1    # default",
        "[[rules]]    # given.toml",
        'name = "a"',
        'repos = ["org/*"]',
        'every = "6h"',
        "# revision is unset",
        "[[rules]]    # given.toml",
        'name = "b"',
        "only.lfs = true",
    ]
    del rule["revision"]
    rule["every"] = "6h"
    assert tomllib.loads("\n".join(lines)) == tree
    assert [*toml_lines({"rules": []}, {})] == ["rules = []    # default"]
