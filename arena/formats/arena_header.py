"""The header of a .arena file: values, their JSON, and the judge of the plan inside.

Decoding is bounded and exact: every member has its type and its range, nothing is left over, and
the offsets are proven to be a valid plan of the allocations, whoever made them.
"""

import json
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, Final

from planner.model import TensorSpec
from planner.units import BYTES_MAX, align_up

__all__ = [
    "ALIGN_BYTES",
    "ELEMENT_BYTES",
    "Allocations",
    "CompiledFor",
    "CompiledFrom",
    "CompiledGear",
    "CompiledModel",
    "HeaderError",
    "decode_header",
    "encode_header",
]

ALIGN_BYTES: Final = 64
"""Work and weight pointers, offsets and the payload start at multiples of this."""
RANK_MAX: Final = 64

ELEMENT_BYTES: Final[Mapping[str, int]] = {
    "bool": 1,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
}
"""Element types of inputs and outputs, by numpy's name, with their bytes."""


@dataclass(frozen=True, slots=True)
class CompiledFor:
    """What a compiled network runs on: its allocations are those of this runtime alone.

    Attributes
    ----------
    runtime : str
        Version of ONNX Runtime.
    machine : str
        Processor architecture as the operating system names it.
    threads : int
        Threads inside one execution.
    """

    runtime: str
    machine: str
    threads: int

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"ONNX Runtime {self.runtime} on {self.machine} with {threads}"


@dataclass(frozen=True, slots=True)
class CompiledFrom:
    """What a network was compiled from.

    Attributes
    ----------
    sha256 : str
        Of the ONNX file.
    shapes : tuple of (input name, axes)
        The shapes that were asked for, sorted by name; empty where the file fixes them.
    optimisation : str
        ``extended`` or ``basic``.
    """

    sha256: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    optimisation: str


@dataclass(frozen=True, slots=True)
class Allocations:
    """What one execution asks for, in order, and where it lies.

    Attributes
    ----------
    sizes : tuple of int, length n, bytes
        As asked for, > 0.
    starts, ends : tuple of int, length n
        Half-open lifetimes, counted in allocations and releases; starts ascend.
    offsets : tuple of int, length n, bytes
        From the work pointer; multiples of 64.
    """

    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CompiledGear:
    """One of the shapes that a network was compiled for, with a plan of its own.

    Attributes
    ----------
    choice : tuple of int
        The axes that differ between gears, in the order of inputs and axes.
    work_bytes, lower_bound_bytes, inputs, outputs, allocations
        As those of `CompiledModel`, of an execution in this gear.
    """

    choice: tuple[int, ...]
    work_bytes: int
    lower_bound_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    allocations: Allocations


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """Everything in a .arena file but the payload.

    Attributes
    ----------
    work_bytes, lower_bound_bytes : int
        Work memory of one execution, and what no placement of its allocations can go below. With
        gears, the most over them.
    inputs, outputs : tuple of TensorSpec
        Every axis >= 0. With gears, those of the gear that takes the most work.
    allocations : Allocations
        None where there are gears: they have their own.
    compiled_for : CompiledFor
    compiled_from : CompiledFrom
    payload_bytes : int
    payload_sha256 : str
    """

    work_bytes: int
    lower_bound_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    allocations: Allocations
    compiled_for: CompiledFor
    compiled_from: CompiledFrom
    payload_bytes: int
    payload_sha256: str
    gears: tuple[CompiledGear, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of weight memory: the payload, used in place, rounded up to 64."""
        return align_up(self.payload_bytes, ALIGN_BYTES)


class HeaderError(Exception):
    """What is wrong with a header, told before the name of its file is known."""


def encode_header(model: CompiledModel) -> bytes:
    """Return the JSON of a header: the same model gives the same bytes."""
    return json.dumps(
        _to_json(model), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


@lru_cache(maxsize=64)
def decode_header(header: bytes) -> CompiledModel:
    """Return the model that a header tells.

    The latest are kept: a file is asked for its sizes, then loaded, once per instance.

    Raises
    ------
    HeaderError
        It is no such JSON, or the plan in it is invalid: says where, what and what was expected.
    """
    try:
        value = json.loads(header.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"the header is no JSON: {error}") from None
    model = _model(value, "header")
    _judge(model)
    return model


def _to_json(model: CompiledModel) -> dict[str, Any]:
    gears = {"gears": [_gear_json(gear) for gear in model.gears]} if model.gears else {}
    return {
        **gears,
        "allocations": _allocations_json(model.allocations),
        "compiled_for": {
            "machine": model.compiled_for.machine,
            "runtime": model.compiled_for.runtime,
            "threads": model.compiled_for.threads,
        },
        "compiled_from": {
            "optimisation": model.compiled_from.optimisation,
            "sha256": model.compiled_from.sha256,
            "shapes": dict(model.compiled_from.shapes),
        },
        "inputs": [_tensor_json(tensor) for tensor in model.inputs],
        "lower_bound_bytes": model.lower_bound_bytes,
        "outputs": [_tensor_json(tensor) for tensor in model.outputs],
        "payload": {"bytes": model.payload_bytes, "sha256": model.payload_sha256},
        "work_bytes": model.work_bytes,
    }


def _gear_json(gear: CompiledGear) -> dict[str, Any]:
    return {
        "allocations": _allocations_json(gear.allocations),
        "choice": gear.choice,
        "inputs": [_tensor_json(tensor) for tensor in gear.inputs],
        "lower_bound_bytes": gear.lower_bound_bytes,
        "outputs": [_tensor_json(tensor) for tensor in gear.outputs],
        "work_bytes": gear.work_bytes,
    }


def _allocations_json(allocations: Allocations) -> dict[str, Any]:
    return {
        "ends": allocations.ends,
        "offsets": allocations.offsets,
        "sizes": allocations.sizes,
        "starts": allocations.starts,
    }


def _tensor_json(tensor: TensorSpec) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "name": tensor.name, "shape": tensor.shape}


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key appears twice")
    return members


def _no_constant(text: str) -> None:
    raise ValueError(f"found {text}, which is no JSON")


_KEYS: Final = (
    "allocations",
    "compiled_for",
    "compiled_from",
    "inputs",
    "lower_bound_bytes",
    "outputs",
    "payload",
    "work_bytes",
)


def _model(value: Any, place: str) -> CompiledModel:
    has_gears = "gears" in _of_type(value, dict, place)
    fields = _members(value, place, (*_KEYS, "gears") if has_gears else _KEYS)
    target = _members(fields["compiled_for"], "compiled_for", ("machine", "runtime", "threads"))
    source = _members(
        fields["compiled_from"], "compiled_from", ("optimisation", "sha256", "shapes")
    )
    payload = _members(fields["payload"], "payload", ("bytes", "sha256"))
    shapes = _of_type(source["shapes"], dict, "compiled_from.shapes")
    return CompiledModel(
        work_bytes=_integer(fields["work_bytes"], "work_bytes"),
        lower_bound_bytes=_integer(fields["lower_bound_bytes"], "lower_bound_bytes"),
        inputs=_tensors(fields["inputs"], "inputs"),
        outputs=_tensors(fields["outputs"], "outputs"),
        allocations=_allocations(fields["allocations"], "allocations"),
        compiled_for=CompiledFor(
            runtime=_text(target["runtime"], "compiled_for.runtime"),
            machine=_text(target["machine"], "compiled_for.machine"),
            threads=_integer(target["threads"], "compiled_for.threads"),
        ),
        compiled_from=CompiledFrom(
            sha256=_digest(source["sha256"], "compiled_from.sha256"),
            shapes=tuple(
                (name, _shape(axes, f"compiled_from.shapes.{name}"))
                for name, axes in sorted(shapes.items())
            ),
            optimisation=_text(source["optimisation"], "compiled_from.optimisation"),
        ),
        payload_bytes=_integer(payload["bytes"], "payload.bytes"),
        payload_sha256=_digest(payload["sha256"], "payload.sha256"),
        gears=_gears(fields["gears"], "gears") if has_gears else (),
    )


def _gears(value: Any, place: str) -> tuple[CompiledGear, ...]:
    gears = []
    for i, item in enumerate(_of_type(value, list, place)):
        here = f"{place}[{i}]"
        keys = ("allocations", "choice", "inputs", "lower_bound_bytes", "outputs", "work_bytes")
        fields = _members(item, here, keys)
        gears.append(
            CompiledGear(
                choice=_shape(fields["choice"], f"{here}.choice"),
                work_bytes=_integer(fields["work_bytes"], f"{here}.work_bytes"),
                lower_bound_bytes=_integer(
                    fields["lower_bound_bytes"], f"{here}.lower_bound_bytes"
                ),
                inputs=_tensors(fields["inputs"], f"{here}.inputs"),
                outputs=_tensors(fields["outputs"], f"{here}.outputs"),
                allocations=_allocations(fields["allocations"], f"{here}.allocations"),
            )
        )
    choices = [gear.choice for gear in gears]
    if not all(choices) or len(set(choices)) != len(choices) or len(choices) < 2:
        raise _wrong(place, choices, "two or more gears with choices that differ")
    return tuple(gears)


def _allocations(value: Any, place: str) -> Allocations:
    columns = _members(value, place, ("ends", "offsets", "sizes", "starts"))
    return Allocations(**{name: _integers(columns[name], f"{place}.{name}") for name in columns})


def _tensors(value: Any, place: str) -> tuple[TensorSpec, ...]:
    tensors = []
    for i, item in enumerate(_of_type(value, list, place)):
        here = f"{place}[{i}]"
        fields = _members(item, here, ("dtype", "name", "shape"))
        dtype = _text(fields["dtype"], f"{here}.dtype")
        if dtype not in ELEMENT_BYTES:
            raise _wrong(f"{here}.dtype", repr(dtype), f"one of {', '.join(ELEMENT_BYTES)}")
        shape = _shape(fields["shape"], f"{here}.shape")
        size = ELEMENT_BYTES[dtype]
        for axis in shape:
            size *= axis
        if size > BYTES_MAX:
            raise _wrong(f"{here}.shape", shape, "at most 2^62 bytes")
        tensors.append(TensorSpec(_text(fields["name"], f"{here}.name"), dtype, shape, size))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise _wrong(place, [tensor.name for tensor in tensors], "different names")
    return tuple(tensors)


def _judge(model: CompiledModel) -> None:
    """Raise unless offsets are valid plans of the allocations inside the work memory."""
    _judge_plan(model, "")
    for i, gear in enumerate(model.gears):
        _judge_plan(gear, f"gears[{i}].")
        if gear.work_bytes > model.work_bytes:
            raise _wrong(f"gears[{i}].work_bytes", gear.work_bytes, f"at most {model.work_bytes}")


def _judge_plan(plan: CompiledModel | CompiledGear, place: str) -> None:
    """Raise unless the offsets are a valid plan of the allocations; `place` begins the message."""
    columns = plan.allocations
    n = len(columns.sizes)
    for name in ("starts", "ends", "offsets"):
        if len(getattr(columns, name)) != n:
            raise _wrong(f"{place}allocations.{name}", len(getattr(columns, name)), f"{n} entries")
    clock = -1
    live: list[tuple[int, int]] = []
    releases: list[tuple[int, int, int]] = []  # a heap of (end, offset, byte after the block)
    for k, (size, start, end, offset) in enumerate(
        zip(columns.sizes, columns.starts, columns.ends, columns.offsets, strict=True)
    ):
        if not (size > 0 and clock < start < end):
            raise _wrong(
                f"{place}allocations[{k}]",
                f"{size} bytes in [{start}, {end})",
                "a size > 0, starts that ascend, and ends after them",
            )
        if offset % ALIGN_BYTES or offset + size > plan.work_bytes:
            raise _wrong(
                f"{place}allocations.offsets[{k}]",
                offset,
                f"a multiple of {ALIGN_BYTES} that leaves {size} bytes before the end of work, "
                f"{plan.work_bytes}",
            )
        clock = start
        while releases and releases[0][0] <= start:
            _, low, high = heappop(releases)
            del live[bisect_left(live, (low, high))]
        at = bisect_left(live, (offset, offset + size))
        for low, high in live[max(0, at - 1) : at + 1]:
            if low < offset + size and offset < high:
                raise _wrong(
                    f"{place}allocations.offsets[{k}]",
                    f"[{offset}, {offset + size})",
                    f"no byte of [{low}, {high}), which is alive at the same time",
                )
        insort(live, (offset, offset + size))
        heappush(releases, (end, offset, offset + size))
    if plan.lower_bound_bytes > plan.work_bytes:
        raise _wrong(
            f"{place}lower_bound_bytes", plan.lower_bound_bytes, f"at most {plan.work_bytes}"
        )


def _wrong(place: str, found: object, wanted: str) -> HeaderError:
    return HeaderError(f"{place}: found {str(found)[:80]}, expected {wanted}")


def _of_type(value: Any, wanted: type, place: str) -> Any:
    if type(value) is not wanted:
        raise _wrong(place, type(value).__name__, wanted.__name__)
    return value


def _members(value: Any, place: str, names: Sequence[str]) -> dict[str, Any]:
    members: dict[str, Any] = _of_type(value, dict, place)
    if sorted(members) != sorted(names):
        raise _wrong(place, sorted(members), f"exactly the keys {', '.join(names)}")
    return members


def _integer(value: Any, place: str) -> int:
    number: int = _of_type(value, int, place)
    if not 0 <= number <= BYTES_MAX:
        raise _wrong(place, number, "0 to 2^62")
    return number


def _integers(value: Any, place: str) -> tuple[int, ...]:
    items = _of_type(value, list, place)
    for i, item in enumerate(items):
        if type(item) is not int or not 0 <= item <= BYTES_MAX:
            _integer(item, f"{place}[{i}]")  # raises, with the place
    return tuple(items)


def _shape(value: Any, place: str) -> tuple[int, ...]:
    if len(_of_type(value, list, place)) > RANK_MAX:
        raise _wrong(place, f"{len(value)} axes", f"at most {RANK_MAX}")
    return _integers(value, place)


def _text(value: Any, place: str) -> str:
    text: str = _of_type(value, str, place)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        raise _wrong(place, repr(text), "text that can be written as UTF-8") from None
    return text


def _digest(value: Any, place: str) -> str:
    text = _text(value, place)
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise _wrong(place, repr(text), "64 hexadecimal digits")
    return text
