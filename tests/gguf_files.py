"""Small GGUF files, written by hand."""

import struct
from collections.abc import Mapping, Sequence

Array = tuple[int, Sequence[object]]  # the elements' type, and they
Value = str | int | float | bool | Array

U8, I32, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 5, 4, 6, 7, 8, 9, 10
_FORMS = {U8: "<B", I32: "<i", U32: "<I", F32: "<f", BOOL: "<?", U64: "<Q"}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def element(kind: int, value: object) -> bytes:
    if kind == STRING:
        return text(str(value))
    if kind == ARRAY:
        assert isinstance(value, tuple)
        return array(*value)
    return struct.pack(_FORMS[kind], value)


def array(kind: int, values: Sequence[object]) -> bytes:
    head = struct.pack("<IQ", kind, len(values))
    return head + b"".join(element(kind, one) for one in values)


def pair(key: str, value: Value) -> bytes:
    match value:
        case bool():
            kind, body = BOOL, element(BOOL, value)
        case int():
            kind = U32 if 0 <= value < 2**32 else U64
            body = element(kind, value)
        case float():
            kind, body = F32, element(F32, value)
        case str():
            kind, body = STRING, text(value)
        case _:
            kind, body = ARRAY, array(*value)
    return text(key) + struct.pack("<I", kind) + body


def tensor(name: str, shape: Sequence[int], offset: int = 0) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", 0, offset)


def gguf(
    values: Mapping[str, Value],
    tensors: Mapping[str, Sequence[int]],
    *,
    version: int = 3,
    data: bytes = b"",
) -> bytes:
    """A file with these pairs and tensors, and *data* after them."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    pairs = b"".join(pair(key, value) for key, value in values.items())
    infos = b"".join(tensor(name, shape) for name, shape in tensors.items())
    start = head + pairs + infos
    return start + bytes(-len(start) % 32) + data


CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tiny_llama(
    data: bytes = b"", *, template: str | None = CHATML, file_type: int = 15
) -> bytes:
    """As a converter writes one, of 1,088 parameters."""
    values: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.file_type": file_type,
        "llama.context_length": 2048,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": (STRING, ["<unk>", "<s>", "</s>", "a", "b"]),
        "tokenizer.ggml.scores": (F32, [0.0, 1.0, 2.0, 3.0, 4.0]),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
    }
    if template is not None:
        values["tokenizer.chat_template"] = template
    shapes = {"token_embd.weight": (32, 32), "output_norm.weight": (64,)}
    return gguf(values, shapes, data=data)
