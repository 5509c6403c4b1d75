"""The smallest ONNX model: a table of numbers that token ids pick rows from.

Protocol buffers by hand, of onnx.proto3: the package that writes them is not needed
for anything else.
"""

import struct
from collections.abc import Sequence

FLOAT, INT64 = 1, 7  # TensorProto.DataType
IR_VERSION, OPSET = 8, 17


def picks_rows(table: Sequence[Sequence[float]]) -> bytes:
    """``last_hidden_state = table[input_ids]``."""
    rows, columns = len(table), len(table[0])
    flat = [value for row in table for value in row]
    data = struct.pack(f"<{len(flat)}f", *flat)
    weights = _number(1, rows) + _number(1, columns) + _number(2, FLOAT)
    weights += _text(8, "table") + _bytes(9, data)
    node = _text(1, "table") + _text(1, "input_ids") + _text(2, "last_hidden_state")
    graph = _bytes(1, node + _text(4, "Gather")) + _text(2, "tiny")
    graph += _bytes(5, weights)
    graph += _bytes(11, _described("input_ids", INT64, 2))
    graph += _bytes(12, _described("last_hidden_state", FLOAT, 3))
    opset = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, opset)


def _described(name: str, kind: int, dimensions: int) -> bytes:
    # Each dimension has a name instead of a size.
    shape = b"".join(_bytes(1, _text(2, f"{name}_{i}")) for i in range(dimensions))
    tensor = _number(1, kind) + _bytes(2, shape)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())
