"""The .arena format: what was written reads the same; everything else is a FormatError.

Laws: truncated anywhere, changed anywhere, or lying in its header, a file never passes and never
raises anything but FormatError; a plan inside passes iff an all-pairs judge finds nothing.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors import FormatError
from arena.formats import read_model_facts
from arena.formats.arena_file import (
    MAGIC,
    PREFIX_BYTES,
    encode,
    model_size,
    read_header,
    read_model,
)
from arena.formats.arena_header import Allocations, CompiledFor, CompiledFrom, CompiledModel
from arena.formats.source import ByteSource, open_source
from planner.model import TensorSpec

PAYLOAD = bytes(range(256)) * 3
MODEL = CompiledModel(
    work_bytes=256,
    lower_bound_bytes=192,
    inputs=(TensorSpec("x", "float32", (1, 3), 12), TensorSpec("größe", "int64", (), 8)),
    outputs=(TensorSpec("y", "bool", (2, 0), 0),),
    allocations=Allocations(
        sizes=(100, 64, 10), starts=(0, 1, 4), ends=(3, 6, 5), offsets=(0, 128, 64)
    ),
    compiled_for=CompiledFor("1.32.0", "x86_64", 1),
    compiled_from=CompiledFrom("0" * 64, (("x", (1, 3)),), "extended"),
    payload_bytes=len(PAYLOAD),
    payload_sha256=hashlib.sha256(PAYLOAD).hexdigest(),
)
FILE = encode(MODEL, PAYLOAD)
START = len(FILE) - len(PAYLOAD)


def read(content: bytes) -> CompiledModel:
    return read_model(content)


def with_header(header: bytes) -> bytes:
    """Return a file with another header and the digest that belongs to it."""
    prefix = MAGIC + (1).to_bytes(4, "little") + len(header).to_bytes(4, "little")
    prefix += hashlib.sha256(header).digest()
    body = prefix.ljust(PREFIX_BYTES, b"\0") + header
    return body.ljust(-(-len(body) // 64) * 64, b"\0") + PAYLOAD


def header_value() -> dict[str, Any]:
    length = int.from_bytes(FILE[12:16], "little")
    value: dict[str, Any] = json.loads(FILE[PREFIX_BYTES : PREFIX_BYTES + length])
    return value


def refused(content: bytes) -> str:
    with pytest.raises(FormatError) as error:
        read(content)
    return str(error.value)


def test_what_was_written_reads_the_same() -> None:
    with open_source(FILE) as source:
        model, start = read_header(source)
    assert model == MODEL
    assert start == START
    assert start % 64 == 0
    assert FILE[start:] == PAYLOAD
    assert model.weight_bytes == len(PAYLOAD)  # a multiple of 64 already


def test_the_payload_is_not_read() -> None:
    class Watched(ByteSource):
        highest = 0

        def view(self, start: int, end: int) -> memoryview:
            self.highest = max(self.highest, end)
            return super().view(start, end)

    source = Watched(memoryview(FILE))
    read_header(source)
    assert source.highest == START


def test_facts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.arena"
    path.write_bytes(FILE)
    facts = read_model_facts(path)
    assert (facts.format, facts.dynamic, facts.note) == ("arena", False, "")
    assert (facts.work_bytes, facts.weight_bytes) == (256, len(PAYLOAD))
    assert facts.weights_sha256 == MODEL.payload_sha256
    assert facts.file_sha256 == hashlib.sha256(FILE).hexdigest()
    assert facts.soc == "x86_64/onnxruntime-1.32.0"
    assert facts.size == model_size(MODEL, facts.file_sha256)
    assert (facts.size.inputs, facts.size.outputs) == (MODEL.inputs, MODEL.outputs)
    assert dict(facts.details)["lower_bound_bytes"] == 192


def test_without_digests_both_are_empty() -> None:
    facts = read_model_facts(FILE, "model.arena", with_digests=False)
    assert (facts.file, facts.file_sha256, facts.weights_sha256) == ("model.arena", "", "")


def test_a_damaged_file_is_still_known_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "model.arena"
    path.write_bytes(b"damaged")
    with pytest.raises(FormatError, match=r"model.arena: at byte 0: found b'damaged', expected"):
        read_model_facts(path)


def test_threads_are_counted_in_words() -> None:
    assert str(CompiledFor("1.20.1", "aarch64", 2)) == (
        "ONNX Runtime 1.20.1 on aarch64 with 2 threads"
    )


def test_truncated_at_every_length() -> None:
    for length in range(len(FILE)):
        refused(FILE[:length])


def test_a_byte_too_many() -> None:
    assert f"the file has {len(FILE) + 1} bytes, expected {len(FILE)}" in refused(FILE + b"\0")


def test_a_change_anywhere_before_the_payload() -> None:
    for at in range(START):
        for flip in (1, 0x80):
            refused(FILE[:at] + bytes([FILE[at] ^ flip]) + FILE[at + 1 :])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is no .arena file"),
        (b"\x7fELF" + bytes(100), "this is no .arena file"),
        (MAGIC, "the file ends after 8 bytes"),
        (MAGIC + b"\3\0\0\0" + FILE[12:], "format version 3, expected 1 or 2: compile the model"),
        (MAGIC + b"\2\0\0\0" + FILE[12:], "format version 2, but 0 gears"),
        (FILE[:12] + b"\xff\xff\xff\xff" + FILE[16:], "expected at most 4194304"),
        (FILE[:50] + b"\1" + FILE[51:], "unused end of the prefix"),
        (FILE[:START] + FILE[START + 1 :], "expected 1"),
        (with_header(b"{"), "the header is no JSON"),
        (with_header(b"\xff"), "the header is no JSON"),
        (with_header(b"[" * 100_000), "the header is no JSON"),
        (with_header(b"9" * 5000), "the header is no JSON"),
        (with_header(b'{"a": NaN}'), "found NaN"),
        (with_header(b'{"a": 1, "a": 2}'), "a key appears twice"),
        (with_header(b"[]"), "header: found list, expected dict"),
        (with_header(b"{}"), "expected exactly the keys allocations"),
    ],
)
def test_files_that_are_something_else(content: bytes, message: str) -> None:
    assert message in refused(content)


def member(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of one member of the header."""

    def change(header: Any) -> None:
        *way, last = path
        for step in way:
            header = header[step]
        header[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (member("work_bytes", value=-1), "work_bytes: found -1, expected 0 to 2^62"),
        (member("work_bytes", value=True), "work_bytes: found bool, expected int"),
        (member("work_bytes", value=1.5), "work_bytes: found float, expected int"),
        (member("work_bytes", value=2**63), "expected 0 to 2^62"),
        (member("work_bytes", value=128), "before the end of work, 128"),
        (member("lower_bound_bytes", value=512), "lower_bound_bytes: found 512, expected at most"),
        (member("payload", "sha256", value="xyz"), "payload.sha256: found 'xyz', expected 64"),
        (member("payload", "bytes", value=5), "expected"),
        (member("payload", "more", value=5), "payload: found"),
        (member("inputs", value={}), "inputs: found dict, expected list"),
        (member("inputs", 0, "dtype", value="string"), "inputs[0].dtype: found 'string'"),
        (member("inputs", 0, "name", value=3), "inputs[0].name: found int, expected str"),
        (member("inputs", 0, "name", value="\ud800"), "expected text that can be written as UTF-8"),
        (member("inputs", 1, "name", value="x"), "inputs: found ['x', 'x'], expected different"),
        (member("inputs", 0, "shape", value=[2**40, 2**40]), "expected at most 2^62 bytes"),
        (member("inputs", 0, "shape", value=[-1]), "inputs[0].shape[0]: found -1"),
        (member("inputs", 0, "shape", value=[1] * 65), "found 65 axes, expected at most 64"),
        (member("compiled_for", "threads", value="1"), "compiled_for.threads: found str"),
        (member("compiled_from", "shapes", value=[]), "compiled_from.shapes: found list"),
        (member("allocations", "ends", value=[3, 6]), "allocations.ends: found 2, expected 3"),
        (member("allocations", "sizes", 0, value=0), "allocations[0]: found 0 bytes in [0, 3)"),
        (member("allocations", "starts", 1, value=0), "starts that ascend"),
        (member("allocations", "ends", 2, value=4), "ends after them"),
        (member("allocations", "offsets", 0, value=32), "expected a multiple of 64"),
        (member("allocations", "offsets", 1, value=64), "expected no byte of [0, 100)"),
        (member("allocations", "offsets", 0, value=2**61), "before the end of work"),
    ],
)
def test_headers_that_lie(change: Callable[[dict[str, Any]], None], message: str) -> None:
    value = header_value()
    change(value)
    assert message in refused(with_header(json.dumps(value).encode()))


def test_the_same_value_is_accepted_in_another_notation() -> None:
    assert read(with_header(json.dumps(header_value(), indent=1).encode())) == MODEL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.data())
def test_any_member_replaced_by_anything(data: st.DataObject) -> None:
    """No header raises anything but FormatError; most are refused, few are legal by chance."""
    value: Any = header_value()
    root, place, key = value, value, data.draw(st.sampled_from(sorted(value)))
    while isinstance(place[key], dict | list) and len(place[key]) and data.draw(st.booleans()):
        place = place[key]
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
    place[key] = data.draw(json_values)
    try:
        read(with_header(json.dumps(root).encode()))
    except FormatError as error:
        assert str(error)  # noqa: PT017 - both ends are legal


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    refused(content)
    refused(MAGIC + content)


plans = st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 3), st.integers(1, 6), st.integers(0, 5)),
    max_size=8,
)


@given(plans)
def test_a_plan_passes_iff_all_pairs_are_apart(rows: list[tuple[int, int, int, int]]) -> None:
    starts, clock = [], 0
    for _, gap, _, _ in rows:
        clock += gap + 1
        starts.append(clock)
    blocks = [
        (start, start + length, 64 * slot, 64 * slot + size)
        for start, (size, _, length, slot) in zip(starts, rows, strict=True)
    ]
    is_valid = not any(
        max(a[0], b[0]) < min(a[1], b[1]) and max(a[2], b[2]) < min(a[3], b[3])
        for i, a in enumerate(blocks)
        for b in blocks[:i]
    )
    model = replace(
        MODEL,
        work_bytes=1024,
        allocations=Allocations(
            sizes=tuple(size for size, *_ in rows),
            starts=tuple(block[0] for block in blocks),
            ends=tuple(block[1] for block in blocks),
            offsets=tuple(block[2] for block in blocks),
        ),
    )
    content = encode(model, PAYLOAD)
    if is_valid:
        assert read(content) == model
    else:
        assert "alive at the same time" in refused(content)
