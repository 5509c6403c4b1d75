"""Names of files in few columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.cli.names import columns_of, padded, short_path, shortened


@pytest.mark.parametrize(
    ("path", "columns", "shown"),
    [
        ("config.json", 20, "config.json"),
        ("onnx/model.onnx", 14, "…/model.onnx"),
        ("onnx/model.onnx", 10, "model.onnx"),
        ("model-00003-of-00006.safetensors", 22, "model-00003-of-00006…"),
        ("model-00003-of-00120.safetensors", 14, "model-3/120…"),
        ("Qwen3-0.6B-Instruct-Q4_K_M.gguf", 20, "Qwen3-0.6B-I…_M.gguf"),
        ("模型/权重文件.bin", 10, "权重文件…"),
    ],
)
def test_what_tells_files_apart_is_kept(path: str, columns: int, shown: str) -> None:
    assert short_path(path, columns) == shown


@given(st.text(min_size=1), st.integers(4, 60))
def test_a_shortened_text_fits(text: str, columns: int) -> None:
    for found in (shortened(text, columns), short_path(text, columns)):
        assert columns_of(found) <= columns
    assert columns_of(padded(shortened(text, columns), columns)) == columns


def test_a_wide_character_takes_two_columns_and_an_accent_none() -> None:
    assert columns_of("模型") == 4
    assert columns_of("e\u0301") == 1
