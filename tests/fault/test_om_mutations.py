"""Damaged .om files: a named error with its offset, or the sizes that the vendor's query finds.

Laws, for every input: reading raises nothing but FormatError, whose offset lies in the file; where
the sizes are read, plain steps of the vendor's query find the same; where those refuse, so do we;
and an accepted file turns into a ModelSize unless its kind has none. No input takes more steps than
the budget of one file.

`OM_MUTATIONS` sets another count; `-m "not slow"` leaves the two long tests out.
"""

import io
import os
import random
import struct
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from arena.errors import FormatError
from arena.formats.om import OmKind, OmSizes, model_size, read_om, read_om_sizes
from arena.formats.om_file import GEARS_INPUT, UNSIZED, MemorySegment
from arena.formats.om_layout import VERSION_OLD, PartitionType
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.om_writer import OmSpec, om_bytes, write_layout
from arena.formats.protobuf import Budget
from planner.model import TensorSpec
from tests.om_files import (
    INOUT,
    MODEL_DEF,
    TASK,
    WEIGHTS,
    QueryRefusedError,
    attr,
    block,
    field,
    model_def,
    op,
    plain_om,
    static_om,
    vendor_query,
)

Result = TypeVar("Result")
COUNT = int(os.environ.get("OM_MUTATIONS", "200000"))

TENSORS = (TensorSpec("x", "float32", (1, 3, 8, 8), 768), TensorSpec(GEARS_INPUT, "int64", (1,), 8))
FULL = OmSpec(
    work_bytes=90_624,
    weight_bytes=300,
    soc="Ascend310P3",
    compiler="8.0.0",
    zero_copy_bytes=512,
    inputs=TENSORS,
    outputs=(TensorSpec("y:0", "int32", (1,), 4),),
    gears=Gears(GearsKind.HW, ((8, 8), (16, 16)), ("x",)),
    segments=(MemorySegment(2, 0, 512, fixed=True),),
)


def written() -> list[bytes]:
    """Small files of every kind that is written."""
    fields = {name: getattr(FULL, name) for name in FULL.__slots__}
    return [
        om_bytes(FULL),
        om_bytes(OmSpec(**{**fields, "version": VERSION_OLD})),
        om_bytes(OmSpec(**{**fields, "wide": True})),
        om_bytes(OmSpec(submodel_weight_bytes=(16, 0, 40), inputs=TENSORS)),
        om_bytes(OmSpec(unknown_shapes=True, weight_bytes=9)),
        static_om(),
    ]


def public(folder: Path) -> list[bytes]:
    """The fixtures, and a real network whose weights and kernels are cut: quick to copy."""
    names = ("dynamic_and_static_graph_without_unfold.om", "flow_model.om", "root_model.om")
    data = (folder / "a3c_pong_3e6bbc.om").read_bytes()
    om = read_om(data)
    assert om.header is not None
    model = [
        (part.type, data[part.start : part.end])
        if part.type in (PartitionType.MODEL_DEF, PartitionType.TASK_INFO)
        else (part.type, data[part.start : part.start + 100])
        for part in om.tables[0]
    ]
    file = io.BytesIO()
    write_layout(file, om.header, [model], is_wide=False)
    return [*((folder / name).read_bytes() for name in names), file.getvalue()]


EDGES = (0, 1, 2, 7, 8, 9, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)


def flip_bits(random_: random.Random, data: bytearray) -> None:
    for _ in range(random_.randint(1, 8)):
        data[place(random_, data)] ^= 1 << random_.randrange(8)


def set_bytes(random_: random.Random, data: bytearray) -> None:
    for _ in range(random_.randint(1, 4)):
        data[place(random_, data)] = random_.choice((0, 1, 0x7F, 0x80, 0xFF))


def edit_lengths(random_: random.Random, data: bytearray) -> None:
    """Numbers of 32 or 64 bits, in header and tables mostly, become others."""
    width, code = random_.choice(((4, "<I"), (8, "<Q")))
    start = min(place(random_, data) & ~3, len(data) - width)
    (old,) = struct.unpack_from(code, data, start)
    new = random_.choice((*EDGES, 2**63, 2**64 - 1, old + 1, old - 1, len(data), len(data) - 256))
    struct.pack_into(code, data, start, new % (1 << 8 * width))


def cut(random_: random.Random, data: bytearray) -> None:
    del data[random_.randrange(len(data)) :]
    repair(random_, data)


def splice(random_: random.Random, data: bytearray) -> None:
    """A piece of the file moves, doubles or vanishes."""
    start = place(random_, data)
    piece = data[start : start + random_.randint(1, 64)]
    if random_.random() < 0.5:
        del data[start : start + len(piece)]
    else:
        target = place(random_, data)
        data[target:target] = piece
    repair(random_, data)


def insert_noise(random_: random.Random, data: bytearray) -> None:
    target = place(random_, data)
    data[target:target] = random_.randbytes(random_.randint(1, 16))
    repair(random_, data)


def repair(random_: random.Random, data: bytearray) -> None:
    """Half of the time the header learns the new length, so that damage behind it is reached."""
    if random_.random() < 0.5 and len(data) >= 256:
        wide = struct.unpack_from("<Q", data, 184)[0] != 0
        struct.pack_into("<Q" if wide else "<I", data, 184 if wide else 76, len(data) - 256)


def place(random_: random.Random, data: bytearray) -> int:
    """A position: header and tables a third of the time, else anywhere."""
    reach = min(len(data), 400) if random_.random() < 1 / 3 else len(data)
    return random_.randrange(reach) if reach else 0


MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    flip_bits,
    set_bytes,
    edit_lengths,
    cut,
    splice,
    insert_noise,
)


def mutate(random_: random.Random, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        if len(mutated) >= 16:
            random_.choice(MUTATIONS)(random_, mutated)
    return bytes(mutated)


def attempt(read: Callable[[bytes], Result], data: bytes) -> Result | None:
    """What `read` finds; None for a refusal, whose offset must lie in the file."""
    try:
        return read(data)
    except FormatError as error:
        offset = error.offset
    assert 0 <= offset <= len(data)
    return None


def check(data: bytes) -> bool:
    """Assert the laws; return True where the whole file was read."""
    sizes = attempt(read_om_sizes, data)
    if sizes is not None:
        assert vendor_query(data) == (sizes.work_bytes, sizes.weight_bytes)
    om = attempt(read_om, data)
    if om is None:
        return False
    if om.kind in UNSIZED:
        assert sizes is None
        return True
    assert sizes == OmSizes(om.work_bytes, om.weight_bytes, om.dynamic)
    size = model_size(om)
    assert size.system_managed == (om.kind in (OmKind.DYNAMIC, OmKind.FLOW))
    assert sum(end - start for start, end in om.weight_spans) == size.weight_bytes
    return True


def run(seeds: list[bytes], count: int) -> tuple[int, int]:
    """Check `count` mutations of each kind of seed; return (accepted, refused)."""
    random_ = random.Random(20_000)
    accepted = 0
    for number in range(count):
        data = mutate(random_, seeds[number % len(seeds)])
        try:
            accepted += check(data)
        except QueryRefusedError as error:
            pytest.fail(f"mutation {number}: we read what the query refuses: {error}")
        except Exception as error:
            raise AssertionError(f"mutation {number} raised {error!r}") from error
    return accepted, count - accepted


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_mutations_of_written_files() -> None:
    accepted, refused = run(written(), COUNT // 2)
    assert accepted > COUNT // 20
    assert refused > COUNT // 20


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_mutations_of_public_files(shared_data: Path) -> None:
    accepted, refused = run(public(shared_data / "om"), COUNT // 2)
    assert accepted > COUNT // 20
    assert refused > COUNT // 20


@cache
def hostile() -> dict[str, bytes]:
    """Files that ask for more work or memory than their size is worth."""
    tables = [[(TASK, b"")] * 7 + [(WEIGHTS, b"x")]] * 20_000
    names = attr(11, "attr_name_enum", field(1, field(2, b"") * 200_000))
    names += attr(11, "om_compress_version", field(3, 1))
    gears = b"".join(attr(10, f"_pred_value_{index}", b"") for index in range(60_000))
    dims = field(33, field(3, field(1, b"\1" * 200_000)))
    models = {
        "attributes": model_def(attrs=attr(11, "soc_version", b"") * 80_000),
        "names": model_def(attrs=names),
        "gears": model_def(op("case", "Case", gears)),
        "axes": model_def(op("x", "Data", dims)),
        "inputs": model_def(*[op("x", "Data", field(33, b""))] * 60_000),
    }
    files = {name: plain_om([(MODEL_DEF, data), (TASK, b"")]) for name, data in models.items()}
    files["tasks"] = plain_om([(MODEL_DEF, b""), (TASK, field(8, 0) * 200_000)])
    files["tables"] = plain_om(*tables, model_num=len(tables))
    batches = block(2, struct.pack("<I", 200_000) + bytes(1_600_000))
    files["batches"] = plain_om([(INOUT, batches), (TASK, b"")])
    tensors = block(0, struct.pack("<I", 100_000) + bytes(3_200_000))
    files["tensors"] = plain_om([(INOUT, tensors), (TASK, b"")])
    return files


@pytest.mark.parametrize("name", hostile())
def test_hostile_files_run_out_of_steps_before_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the steps and of the file here; both grow alike."""
    data = hostile()[name]
    monkeypatch.setattr("arena.formats.om.Budget", lambda: Budget(100_000))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more fields than a model can have"):
            read_om(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 << 20


def test_every_truncation_is_refused() -> None:
    for data in written():
        for length in range(len(data)):
            with pytest.raises(FormatError):
                read_om(data[:length])


def test_every_truncation_with_a_truthful_header_is_no_crash() -> None:
    """The header claims what is there, so the cut is met wherever it lies."""
    for data in written():
        for length in range(256, len(data)):
            cut_data = bytearray(data[:length])
            wide = struct.unpack_from("<Q", data, 184)[0] != 0
            struct.pack_into("<Q" if wide else "<I", cut_data, 184 if wide else 76, length - 256)
            assert not check(bytes(cut_data))


def test_every_byte_set_to_each_edge_is_no_crash() -> None:
    data = om_bytes(FULL)
    for position in range(len(data)):
        for value in (0x00, 0xFF, data[position] ^ 0x80):
            check(data[:position] + bytes([value]) + data[position + 1 :])
