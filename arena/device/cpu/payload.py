"""The runtime's own model format, put into one order so that equal models are equal bytes.

ONNX Runtime saves an optimised model as a FlatBuffer. All of it is reproducible but one part: the
table of operator types, at the front, follows a hash map that is seeded anew in every process.

        before: [root | operator types, any order | graph, weights, version]
        after:  [root | operator types, sorted    | graph, weights, version]

Offsets in a FlatBuffer are relative, and parts refer only to parts behind them: so the front is
written anew, the rest is moved by a multiple of its alignment, and the root is pointed there.

References
----------
.. [1] FlatBuffers internals, https://flatbuffers.dev/internals: tables, vtables, vectors, strings.
.. [2] ONNX Runtime, onnxruntime/core/flatbuffers/schema/ort.fbs: InferenceSession,
       KernelTypeStrResolver, OpIdKernelTypeStrArgsEntry, KernelTypeStrArgsEntry, ArgTypeAndIndex.
"""

import struct
from typing import Final

from arena.errors import DeviceError

__all__ = ["in_one_order"]

_IDENTIFIER: Final = b"ORTM"
_VERSION_FIELD, _MODEL_FIELD, _TYPES_FIELD = 0, 1, 3
_ALIGN: Final = 8
"""The strictest alignment of the format's scalars; the runtime aligns the buffer's end to it."""

# Operator -> type parameter -> the arguments that bind it, each as (input or output, index).
_Arguments = tuple[tuple[int, int], ...]
_Operators = tuple[tuple[bytes, tuple[tuple[bytes, _Arguments], ...]], ...]


def in_one_order(model: bytes) -> bytes:
    """Return a saved model with its table of operator types sorted by name.

    Raises
    ------
    DeviceError
        The runtime saved something of another layout.
    """
    try:
        return _rewrite(model)
    except (struct.error, IndexError) as error:
        raise DeviceError(
            f"the runtime saved a model of unknown layout ({error}); use a version of ONNX Runtime "
            "that this release was tested with",
            call="SetOptimizedModelFilePath",
        ) from None


def _rewrite(model: bytes) -> bytes:
    if model[4:8] != _IDENTIFIER:
        raise IndexError(f"identifier {model[4:8]!r}")
    root = _u32(model, 0)
    graph = _child(model, root, _MODEL_FIELD)
    version = _child(model, root, _VERSION_FIELD)
    operators = _read_operators(model, _child(model, root, _TYPES_FIELD))
    # The graph's root is what was written last before the front, and its vtable after it: below.
    rest = min(graph, graph - struct.unpack_from("<i", model, graph)[0])
    front = _write_front(operators)
    front += bytes((rest - len(front)) % _ALIGN)
    moved = len(front) - rest
    for at, target in ((_Front.GRAPH, graph + moved), (_Front.VERSION, version + moved)):
        struct.pack_into("<I", front, at, target - at)
    return bytes(front) + model[rest:]


class _Front:
    """Positions in the front that is written: the root table and the vtables of all tables."""

    ROOT_VTABLE: Final = 8
    ROOT: Final = 20
    TYPES: Final = 24
    GRAPH: Final = 28
    VERSION: Final = 32
    PAIR_VTABLE: Final = 36  # two offsets
    INDEX_VTABLE: Final = 44  # a byte and a number
    TYPES_VTABLE: Final = 52  # one offset
    TABLES: Final = 60


def _write_front(operators: _Operators) -> bytearray:
    front = bytearray(struct.pack("<I4s", _Front.ROOT, _IDENTIFIER))
    front += struct.pack("<6H", 12, 16, 12, 8, 0, 4)
    front += struct.pack("<iIII", _Front.ROOT - _Front.ROOT_VTABLE, 0, 0, 0)
    front += struct.pack("<4H", 8, 12, 4, 8)
    front += struct.pack("<4H", 8, 12, 8, 4)
    front += struct.pack("<4H", 6, 8, 4, 0)
    texts: dict[bytes, list[int]] = {}  # text -> fields that point to it

    def point(field: int) -> None:
        struct.pack_into("<I", front, field, len(front) - field)

    def table(vtable: int, fields: bytes) -> int:
        at = len(front)
        front.extend(struct.pack("<i", at - vtable) + fields)
        return at + 4

    def vector(field: int, count: int) -> range:
        point(field)
        front.extend(struct.pack("<I", count) + bytes(4 * count))
        return range(len(front) - 4 * count, len(front), 4)

    point(_Front.TYPES)
    types = table(_Front.TYPES_VTABLE, bytes(4))
    for slot, (operator, parameters) in zip(vector(types, len(operators)), operators, strict=True):
        point(slot)
        entry = table(_Front.PAIR_VTABLE, bytes(8))
        texts.setdefault(operator, []).append(entry)
        for inner, (parameter, arguments) in zip(
            vector(entry + 4, len(parameters)), parameters, strict=True
        ):
            point(inner)
            pair = table(_Front.PAIR_VTABLE, bytes(8))
            texts.setdefault(parameter, []).append(pair)
            for last, (side, index) in zip(
                vector(pair + 4, len(arguments)), arguments, strict=True
            ):
                point(last)
                table(_Front.INDEX_VTABLE, struct.pack("<Ib3x", index, side))
    for text, fields in texts.items():
        for field in fields:
            point(field)
        front += struct.pack("<I", len(text)) + text
        front += bytes(4 - len(front) % 4)  # at least one: texts end with a zero
    return front


def _read_operators(model: bytes, types: int) -> _Operators:
    operators = []
    for entry in _vector(model, _child(model, types, 0)):
        parameters = []
        for pair in _vector(model, _child(model, entry, 1)):
            arguments = tuple(
                (_scalar(model, table, 0, "<b"), _scalar(model, table, 1, "<I"))
                for table in _vector(model, _child(model, pair, 1))
            )
            parameters.append((_text(model, _child(model, pair, 0)), arguments))
        operators.append((_text(model, _child(model, entry, 0)), tuple(sorted(parameters))))
    return tuple(sorted(operators))


def _u32(model: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", model, at)[0]
    return value


def _field(model: bytes, table: int, index: int) -> int:
    """Return the position of a table's field; 0 where it is left out."""
    vtable = table - struct.unpack_from("<i", model, table)[0]
    if 4 + 2 * index >= struct.unpack_from("<H", model, vtable)[0]:
        return 0
    offset: int = struct.unpack_from("<H", model, vtable + 4 + 2 * index)[0]
    return table + offset if offset else 0


def _child(model: bytes, table: int, index: int) -> int:
    """Return the position of what a table's field points to."""
    at = _field(model, table, index)
    if not at:
        raise IndexError(f"a table at byte {table} has no field {index}")
    return at + _u32(model, at)


def _scalar(model: bytes, table: int, index: int, form: str) -> int:
    at = _field(model, table, index)
    value: int = struct.unpack_from(form, model, at)[0] if at else 0
    return value


def _vector(model: bytes, at: int) -> list[int]:
    """Return the positions of a vector's tables."""
    slots = range(at + 4, at + 4 + 4 * _u32(model, at), 4)
    return [slot + _u32(model, slot) for slot in slots]


def _text(model: bytes, at: int) -> bytes:
    return model[at + 4 : at + 4 + _u32(model, at)]
