"""What Ollama and older builds of llama.cpp read of a GGUF repo: ``/v2/``.

It looks like a container registry.  A manifest names blobs by their digests; the
model's is the GGUF file itself, the others are a few lines of text each, which the
Hub makes from what the file says of itself, and so do we: the same file and the
same tag always give the same bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from hubsync.model.digest import Digest
from hubsync.wire.chat_formats import chat_format
from hubsync.wire.gguf import Gguf

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_LAYER_TYPE = "application/vnd.ollama.image."
TEXT_LAYERS = ("template", "system", "params")  # as the Hub names a repo's own files

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_QUANT = re.compile(
    r"(?:^|[-_./ ])"
    r"((?:I?Q|TQ)\d(?:_[0-9A-Z]+)*|MXFP4(?:_[A-Z]+)?|BF16|FP?(?:16|32))"
    r"(?![0-9A-Z_])"
)
_BILLION, _MILLION, _THOUSAND = 10**9, 10**6, 10**3


@dataclass(frozen=True, slots=True)
class GgufFile:
    """One file of a repo that can be offered: *digest* is of its contents."""

    path: str
    size_bytes: int
    digest: Digest
    pointer_bytes: int | None = None  # None: git has the file itself

    @property
    def stem(self) -> str:
        """The path without ``.gguf`` and the number of a part, in upper case."""
        return _SHARD.sub("", self.path[: -len(".gguf")]).upper()

    @property
    def is_part(self) -> bool:
        return _SHARD.search(self.path[: -len(".gguf")]) is not None

    @property
    def is_first(self) -> bool:
        """Whether it begins a model: it is whole, or the first of its parts."""
        part = _SHARD.search(self.path[: -len(".gguf")])
        return part is None or int(part[1]) == 1

    @property
    def is_projector(self) -> bool:
        return "MMPROJ" in self.stem.rpartition("/")[2]

    @property
    def quant(self) -> str | None:
        """``Q4_K_M`` of ``tiny-q4_k_m-00001-of-00002.gguf``."""
        found = _QUANT.findall(self.stem)
        return found[-1] if found else None

    def is_meant_by(self, tag: str) -> bool:
        wanted, name = tag.upper().removesuffix(".GGUF"), self.stem.rpartition("/")[2]
        if wanted in (self.quant, self.stem, name):
            return True
        whole = self.path[: -len(".gguf")].upper()
        if wanted in (whole, whole.rpartition("/")[2]):
            return True
        # "UD-Q4_K_XL" is a tag as well as "Q4_K_XL".
        end = name.removesuffix(wanted)
        return end != name and end.endswith(("-", "."))


def choose(files: Iterable[GgufFile], tag: str) -> GgufFile | None:
    """The file that *tag* means; ``latest``: Q4_K_M, else the first."""
    models = [one for one in files if one.is_first and not one.is_projector]
    models.sort(key=lambda one: one.path)
    if tag.lower() == "latest":
        usual = [one for one in models if one.quant == "Q4_K_M"]
        return next(iter(usual or models), None)
    # A whole file before a part of one, and what stands on top before the rest.
    meant = [one for one in models if one.is_meant_by(tag)]
    meant.sort(key=lambda one: (one.is_part, one.path.count("/"), one.path))
    return next(iter(meant), None)


def choose_projector(files: Iterable[GgufFile]) -> GgufFile | None:
    """What lets a model see: the Hub prefers the one in half precision."""
    found = sorted(
        (one for one in files if one.is_projector),
        key=lambda one: (one.quant not in ("F16", "FP16"), one.path),
    )
    return next(iter(found), None)


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob that a manifest names."""

    kind: str
    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A manifest, and those of its blobs that no repo has as files."""

    manifest: Mapping[str, object]
    made: Mapping[Digest, bytes]


def make_offer(
    model: GgufFile,
    projector: GgufFile | None,
    head: Gguf | None,
    own: Mapping[str, Layer],
) -> Offer:
    """What to say of *model*.

    Args:
        model: the file chosen.
        projector: what belongs to it, if the repo has one.
        head: what the file says of itself; None: it could not be read.
        own: layers that the repo has as files; they win over made ones.
    """
    made: dict[Digest, bytes] = {}

    def keep(kind: str, blob: bytes) -> Layer:
        digest = Digest.of(blob)
        made[digest] = blob
        return Layer(kind, digest, len(blob))

    layers = [Layer("model", model.digest, model.size_bytes)]
    if projector:
        layers.append(Layer("projector", projector.digest, projector.size_bytes))
    texts = _made_texts(head)
    for kind in TEXT_LAYERS:
        if kind in own:
            layers.append(own[kind])
        elif kind in texts and "template" not in own:
            # Stop words belong to our template, and not to the repo's own.
            layers.append(keep(kind, texts[kind]))
    config = keep("config", _config(model, projector, head, layers))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _named(config, _CONFIG_TYPE),
        "layers": [_named(one, _LAYER_TYPE + one.kind) for one in layers],
    }
    return Offer(manifest, made)


def emit_file(file: GgufFile) -> dict[str, object]:
    """What older llama.cpp reads of the file: where to get it, and its name."""
    found: dict[str, object] = {
        "rfilename": file.path,
        "blobId": str(file.digest),
        "size": file.size_bytes,
    }
    if file.pointer_bytes is not None:
        found["lfs"] = {
            "sha256": file.digest.hex,
            "size": file.size_bytes,
            "pointerSize": file.pointer_bytes,
        }
    return found


def _named(layer: Layer, media_type: str) -> dict[str, object]:
    return {
        "digest": str(layer.digest),
        "mediaType": media_type,
        "size": layer.size_bytes,
    }


def _made_texts(head: Gguf | None) -> dict[str, bytes]:
    jinja = head.text("tokenizer.chat_template") if head else None
    if head is None or jinja is None:
        return {}
    found = chat_format(jinja, head.token("eos"))
    if found is None:
        return {}
    stop = orjson.dumps({"stop": list(found.stop)})
    return {"template": found.template.encode(), "params": stop}


def _config(
    model: GgufFile,
    projector: GgufFile | None,
    head: Gguf | None,
    layers: Sequence[Layer],
) -> bytes:
    family = (head.architecture if head else None) or "unknown"
    families = [family, "clip"] if projector else [family]
    config = {
        "model_format": "gguf",
        "model_family": family,
        "model_families": families,
        "model_type": human_number(head.parameters) if head else "unknown",
        "file_type": model.quant or "unknown",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(one.digest) for one in layers]},
    }
    return orjson.dumps(config)


def human_number(count: int) -> str:
    """``1.2B``, ``494.03M``, as Ollama writes them."""
    if count >= _BILLION:
        number = count / _BILLION
        return f"{number:.0f}B" if number.is_integer() else f"{number:.1f}B"
    if count >= _MILLION:
        number = count / _MILLION
        return f"{number:.0f}M" if number.is_integer() else f"{number:.2f}M"
    return f"{count / _THOUSAND:.0f}K" if count >= _THOUSAND else str(count)
