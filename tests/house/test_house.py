"""Rules of the house that no linter knows."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubsync
from hubsync.cli.exits import MEANING, exit_status
from hubsync.cli.main import COMMANDS
from hubsync.model.errors import ExitCode, HubsyncError

PACKAGE = Path(hubsync.__file__).parent
PROJECT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES_MAX = 500


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def import_all() -> None:
    for module in pkgutil.walk_packages([str(PACKAGE)], "hubsync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def subclasses(kind: type[HubsyncError]) -> Iterator[type[HubsyncError]]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 50


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text("utf-8").strip():
        return
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_nothing_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "misc", "common_utils"}
    assert [name_of(path) for path in MODULES if path.stem in vague] == []


def test_a_type_only_dependency_is_a_dependency() -> None:
    with_guard = [
        name_of(path) for path in MODULES if "TYPE_CHECKING" in path.read_text("utf-8")
    ]
    assert with_guard == []


def test_every_error_has_an_exit_code() -> None:
    import_all()
    errors = set(subclasses(HubsyncError))
    assert len(errors) > 15
    for error in errors:
        assert isinstance(error.exit_code, ExitCode), error
        assert error.exit_code is not ExitCode.DONE, error
        assert isinstance(error.retryable, bool), error
        assert error.__doc__, error


def test_every_exit_code_is_explained() -> None:
    assert set(MEANING) == set(ExitCode)
    assert all(MEANING.values())
    whole = exit_status()
    for code in ExitCode:
        assert re.search(
            rf"^ +{code.value}  {re.escape(MEANING[code])}$", whole, re.MULTILINE
        )


def test_exit_codes_stay_within_what_a_shell_can_tell() -> None:
    assert all(0 <= code.value <= 130 for code in ExitCode)
    assert len({code.value for code in ExitCode}) == len(ExitCode)


def test_every_command_module_is_in_the_table_and_every_row_has_its_module() -> None:
    modules = {path.stem for path in (PACKAGE / "cli").glob("*_cmd.py")}
    assert {module for module, _ in COMMANDS.values()} == modules


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_swallows_every_error_in_silence(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            said = ast.unparse(node.type)
            only_pass = all(isinstance(one, ast.Pass) for one in node.body)
            assert not (only_pass and "Exception" in said), f"line {node.lineno}"
