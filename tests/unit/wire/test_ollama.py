"""Which GGUF file a tag means, and what is said of it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.digest import Digest
from hubsync.wire.gguf import parse_gguf
from hubsync.wire.ollama import (
    GgufFile,
    Layer,
    choose,
    choose_projector,
    emit_file,
    human_number,
    make_offer,
)
from tests.gguf_files import tiny_llama

HEAD = parse_gguf(tiny_llama())


def file(path: str) -> GgufFile:
    return GgufFile(path, 1000, Digest.of(path.encode()), 130)


NAMES = [
    "Tiny-BF16-00001-of-00002.gguf",
    "Tiny-BF16-00002-of-00002.gguf",
    "Tiny-IQ3_XXS.gguf",
    "Tiny-Q4_K_M.gguf",
    "Tiny-UD-Q4_K_XL.gguf",
    "Tiny-f16.gguf",
    "mmproj-Tiny-f32.gguf",
    "mmproj-Tiny-f16.gguf",
    "tiny.q8_0.gguf",
    "sub/Tiny-Q5_K_S.gguf",
]
FILES = [file(name) for name in NAMES]


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ("latest", "Tiny-Q4_K_M.gguf"),
        ("LATEST", "Tiny-Q4_K_M.gguf"),
        ("Q4_K_M", "Tiny-Q4_K_M.gguf"),
        ("q4_k_m", "Tiny-Q4_K_M.gguf"),
        ("Q8_0", "tiny.q8_0.gguf"),
        ("F16", "Tiny-f16.gguf"),
        ("IQ3_XXS", "Tiny-IQ3_XXS.gguf"),
        ("UD-Q4_K_XL", "Tiny-UD-Q4_K_XL.gguf"),
        ("Q4_K_XL", "Tiny-UD-Q4_K_XL.gguf"),
        ("BF16", "Tiny-BF16-00001-of-00002.gguf"),
        ("Tiny-Q4_K_M.gguf", "Tiny-Q4_K_M.gguf"),
        ("tiny-q4_k_m", "Tiny-Q4_K_M.gguf"),
        ("Q5_K_S", "sub/Tiny-Q5_K_S.gguf"),
        ("Q4_K", None),
        ("K_M", None),
        ("4_K_M", None),
        ("Tiny", None),
        ("f32", None),
        ("Q6_K", None),
    ],
)
def test_what_a_tag_means(tag: str, path: str | None) -> None:
    found = choose(FILES, tag)
    assert (found.path if found else None) == path


def test_without_the_usual_one_the_first_is_meant() -> None:
    others = [one for one in FILES if one.quant != "Q4_K_M"]
    found = choose(others, "latest")
    assert found is not None
    assert found.path == "Tiny-BF16-00001-of-00002.gguf"
    assert choose([file("mmproj.gguf")], "latest") is None


def test_a_whole_file_is_preferred_to_a_part() -> None:
    found = choose([file("a/x-Q8_0-00001-of-00002.gguf"), file("b/x-Q8_0.gguf")],
                   "Q8_0")  # fmt: skip
    assert found is not None
    assert found.path == "b/x-Q8_0.gguf"


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("llama-2-7b.Q4_K_M.gguf", "Q4_K_M"),
        ("ggml-model-q4_0.gguf", "Q4_0"),
        ("Qwen3-Q8-test-IQ4_NL.gguf", "IQ4_NL"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("x-TQ1_0.gguf", "TQ1_0"),
        ("model-fp16.gguf", "FP16"),
        ("Q4_K_M/model-00001-of-00003.gguf", "Q4_K_M"),
        ("FAQ4U.gguf", None),
        ("model.gguf", None),
        (".gguf", None),
    ],
)
def test_the_quantisation_is_in_the_name(name: str, quant: str | None) -> None:
    assert file(name).quant == quant


def test_the_projector_in_half_precision_is_preferred() -> None:
    found = choose_projector(FILES)
    assert found is not None
    assert found.path == "mmproj-Tiny-f16.gguf"
    assert choose_projector(FILES[:3]) is None


MODEL = file("Tiny-Q4_K_M.gguf")


def test_a_manifest() -> None:
    offer = make_offer(MODEL, None, HEAD, {})
    layers = offer.manifest["layers"]
    assert isinstance(layers, list)
    kinds = [one["mediaType"].rpartition(".")[2] for one in layers]
    assert kinds == ["model", "template", "params"]
    assert layers[0]["digest"] == str(MODEL.digest)
    assert layers[0]["size"] == 1000
    config = offer.manifest["config"]
    assert isinstance(config, dict)
    assert config["mediaType"] == "application/vnd.docker.container.image.v1+json"
    made = {str(name): blob for name, blob in offer.made.items()}
    for one in (*layers[1:], config):
        assert len(made[one["digest"]]) == one["size"]
        assert str(Digest.of(made[one["digest"]])) == one["digest"]
    assert json.loads(made[layers[2]["digest"]])["stop"]
    assert json.loads(made[config["digest"]]) == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "1K",
        "file_type": "Q4_K_M",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
    }


def test_the_same_file_gives_the_same_blobs() -> None:
    assert make_offer(MODEL, None, HEAD, {}) == make_offer(MODEL, None, HEAD, {})


def test_an_unknown_format_has_no_template() -> None:
    """Ollama sends the words as they are, and says so; a wrong one would not."""
    for template in (None, "{{ something.new }}"):
        head = parse_gguf(tiny_llama(template=template))
        for known in (head, None):
            layers = make_offer(MODEL, None, known, {}).manifest["layers"]
            assert isinstance(layers, list)
            assert len(layers) == 1


def test_the_repos_own_files_win() -> None:
    own = {
        kind: Layer(kind, Digest.of(kind.encode()), 7)
        for kind in ("template", "system", "params")
    }
    offer = make_offer(MODEL, None, HEAD, own)
    layers = offer.manifest["layers"]
    assert isinstance(layers, list)
    assert [one["digest"] for one in layers[1:]] == [
        str(one.digest) for one in own.values()
    ]
    assert len(offer.made) == 1
    # Our stop words go with our template only.
    del own["params"]
    layers = make_offer(MODEL, None, HEAD, own).manifest["layers"]
    assert isinstance(layers, list)
    assert len(layers) == 3


def test_a_projector_is_a_layer() -> None:
    offer = make_offer(MODEL, file("mmproj-f16.gguf"), HEAD, {})
    layers = offer.manifest["layers"]
    assert isinstance(layers, list)
    assert layers[1]["mediaType"] == "application/vnd.ollama.image.projector"


def test_what_older_llama_cpp_reads() -> None:
    said = emit_file(MODEL)
    assert said == {
        "rfilename": "Tiny-Q4_K_M.gguf",
        "blobId": str(MODEL.digest),
        "size": 1000,
        "lfs": {"sha256": MODEL.digest.hex, "size": 1000, "pointerSize": 130},
    }
    assert "lfs" not in emit_file(replace(MODEL, pointer_bytes=None))


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (1088, "1K"), (494_032_768, "494.03M"),
     (2_000_000, "2M"), (1_235_814_432, "1.2B"), (8_000_000_000, "8B")],
)  # fmt: skip
def test_large_numbers_are_said_shortly(count: int, said: str) -> None:
    assert human_number(count) == said


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_name_and_no_tag_break_the_choice(name: str, tag: str) -> None:
    choose([file(f"{name}.gguf"), *FILES], tag)
