"""ONNX file to .arena file: what an offline compiler does for an accelerator's models.

    model.onnx ──► shapes fixed ──► optimised offline ──► two traces ──► placed ──► .arena
                   by the caller    by the runtime        equal, or      by our
                                                          refused        solver

The file fits one version of the runtime and one kind of machine, as a .om file fits one SoC:
another version may ask for other bytes in another order. `compiled_path` keeps such files in a
cache and makes them anew where that has changed.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arena.cache import cache_folder, made_once
from arena.demo_models import Progress, demo_model, resolve_demo
from arena.device.cpu.binding import WAY_OUT
from arena.device.cpu.loading import this_machine
from arena.device.cpu.network import Network
from arena.device.cpu.payload import in_one_order
from arena.device.cpu.placement import TracedPlacement
from arena.device.cpu.runtime import runtime, shielded
from arena.device.cpu.shapes import (
    fix_shapes,
    open_gears,
    open_inputs,
    refuse_data_dependent_shapes,
)
from arena.errors import DeviceError, FormatError
from arena.files import write_atomically
from arena.formats import ModelFacts, read_model_facts
from arena.formats.arena_file import VERSION, encode, read_model
from arena.formats.arena_header import (
    ALIGN_BYTES,
    ELEMENT_BYTES,
    Allocations,
    CompiledFrom,
    CompiledGear,
    CompiledModel,
)
from planner.errors import DecodeError
from planner.model import TensorSpec
from planner.problem import Problem
from planner.units import align_up

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

__all__ = ["compile_model", "compiled_demo", "compiled_path", "onnx_facts", "onnx_inputs"]

_REVISION: Final = 1
"""Counts changes in what is made of the same file; entries of the cache are of one revision."""
_LEVELS: Final = {"basic": 1, "extended": 2}
_QUANTISED: Final = ("quant", "qlinear", "integer", "qgemm")
"""Parts of the names of operators on quantised values, in lower case."""

Shapes = Mapping[str, Sequence[int]]


Gears = Sequence[Shapes]
"""Shapes of one gear after another, all of the same inputs."""


def compile_model(
    source: Path, destination: Path, shapes: Shapes | None = None, gears: Gears = ()
) -> CompiledModel:
    """Compile an ONNX file for the CPU device of this machine and write a .arena file.

    Parameters
    ----------
    source : Path
        A model in one file (weights inside), of tensors only.
    destination : Path
        Written at once, when all is done.
    shapes : mapping of input name to axes, or None
        For inputs whose axes the file leaves open.
    gears : sequence of mapping of input name to axes
        Shapes of which each launch chooses one; empty: one shape for all. The weights are the same
        for all gears and lie in the file once.

    Returns
    -------
    CompiledModel
        What was written, without the payload.

    Raises
    ------
    SpecError
        `shapes` does not fit the model, or leaves an axis open. Caused by the caller.
    DecodeError
        The file is no such model, or a shape in it depends on data: says which node and why.
    DeviceError
        ONNX Runtime is missing or too old, or refuses the model.

    Notes
    -----
    The same file, shapes, runtime and machine give the same bytes.
    """
    compiled, data = _compile(source, shapes or {}, gears)
    write_atomically(destination, data)
    return compiled


def compiled_path(source: Path, shapes: Shapes | None = None, gears: Gears = ()) -> Path:
    """Return the .arena file of an ONNX file from the cache, compiled at first use.

    The entry is named after content, shapes, runtime and machine, so a new version of any of them
    makes a new entry. Several processes may ask at once: one compiles, the others wait.

    Raises
    ------
    SpecError, DecodeError, DeviceError
        As `compile_model`.
    """
    shapes = shapes or {}
    asked = [{name: list(axes) for name, axes in gear.items()} for gear in gears]
    key = json.dumps(
        {
            **({"gears": asked} if asked else {}),
            "source": _digest(source),
            "shapes": {name: list(axes) for name, axes in shapes.items()},
            "target": str(this_machine()),
            "version": [VERSION, _REVISION],
        },
        sort_keys=True,
    )
    name = f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.arena"
    return made_once(
        cache_folder() / "compiled" / name,
        is_good=_is_compiled_here,
        make=lambda: _compile(source, shapes, gears)[1],
    )


def compiled_demo(
    name: str,
    shapes: Shapes | None = None,
    gears: Gears = (),
    progress: Progress | None = None,
) -> Path:
    """Return the .arena file of a demo model, fetched and compiled at first use.

    Parameters
    ----------
    name : str
        A key of `arena.demo_models.DEMO_MODELS`.
    shapes : mapping of input name to axes, or None
        In the place of the model's own.
    gears : sequence of mapping of input name to axes
        As for `compile_model`.
    progress : callable or None
        Called with (bytes done, bytes in all) while it is fetched.

    Raises
    ------
    SpecError, FetchError
        As `arena.demo_models.resolve_demo`.
    """
    model = demo_model(name)
    moving = {name for gear in gears for name in gear}
    own = {name: axes for name, axes in model.shapes.items() if name not in moving}
    return compiled_path(resolve_demo(name, progress), {**own, **(shapes or {})}, gears)


def onnx_facts(source: Path, shapes: Shapes | None = None) -> ModelFacts:
    """Return the facts of an ONNX file: those of its compiled form, which is made if need be.

    Raises
    ------
    SpecError, DecodeError, DeviceError
        As `compile_model`.
    """
    facts = read_model_facts(compiled_path(source, shapes))
    return replace(
        facts, file=str(source), format="onnx", note=f"sizes as compiled for {facts.soc}"
    )


def onnx_inputs(source: Path) -> dict[str, bool]:
    """Return input name -> whether the file leaves an axis of it open; nothing is compiled.

    Raises
    ------
    DecodeError
        The file is no such model, or cannot be read.
    DeviceError
        The package onnx is missing.
    """
    return open_inputs(_load(source))


def _is_compiled_here(path: Path) -> bool:
    try:
        return read_model(path).compiled_for == this_machine()
    except (FormatError, OSError):
        return False  # harmed from outside: made anew


def _compile(source: Path, shapes: Shapes, gears: Gears) -> tuple[CompiledModel, bytes]:
    """Return the file of `source`, at the level that takes the least memory."""
    digest = _digest(source)
    model = _load(source)
    if gears:
        choices = open_gears(model, shapes, gears)
    else:
        fix_shapes(model, shapes)
    asked = tuple(sorted((name, tuple(axes)) for name, axes in shapes.items()))
    candidates = []
    for level, payload in _optimised(model):
        refuse_data_dependent_shapes(model, str(source))
        if gears:
            plans = tuple(
                _plan(payload, source, gear, choice)
                for gear, choice in zip(gears, choices, strict=True)
            )
            largest = max(plans, key=lambda plan: plan.work_bytes)
            largest = replace(largest, allocations=Allocations((), (), (), ()))
        else:
            plans, largest = (), _plan(payload, source)
        candidate = CompiledModel(
            work_bytes=largest.work_bytes,
            lower_bound_bytes=max(
                (plan.lower_bound_bytes for plan in plans), default=largest.lower_bound_bytes
            ),
            inputs=largest.inputs,
            outputs=largest.outputs,
            allocations=largest.allocations,
            compiled_for=this_machine(),
            compiled_from=CompiledFrom(sha256=digest, shapes=asked, optimisation=level),
            payload_bytes=len(payload),
            payload_sha256=hashlib.sha256(payload).hexdigest(),
            gears=plans,
        )
        candidates.append((candidate, payload))
    compiled, payload = min(candidates, key=lambda pair: pair[0].work_bytes + pair[0].weight_bytes)
    return compiled, encode(compiled, payload)


def _plan(
    payload: bytes, source: Path, shapes: Shapes | None = None, choice: tuple[int, ...] = ()
) -> CompiledGear:
    """Return the plan of an optimised model with its open axes as `shapes` has them."""
    inputs, outputs, trace = shielded(partial(_observe, payload, source, shapes or {}))
    work_bytes, bound_bytes, allocations = _place(trace)
    return CompiledGear(choice, work_bytes, bound_bytes, inputs, outputs, allocations)


def _digest(source: Path) -> str:
    try:
        with source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> DecodeError:
    return DecodeError(f"cannot be read: {error.strerror}", str(source))


def _load(source: Path) -> "ModelProto":
    try:
        import onnx
    except ModuleNotFoundError:
        raise DeviceError(
            f"compiling wants the package onnx, which is not there; {WAY_OUT}"
        ) from None
    from google.protobuf.message import DecodeError as ProtobufError
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load(source, load_external_data=False)
    except OSError as error:
        raise _unreadable(source, error) from error
    except ProtobufError as error:
        raise DecodeError(f"this is no ONNX model: {error}", str(source)) from None
    if not model.graph.node:
        raise DecodeError("this is no ONNX model, or one without nodes", str(source))
    for weight in model.graph.initializer:
        if uses_external_data(weight):
            raise DecodeError(
                f"weight {weight.name!r} lies in a file of its own; put all into one file with "
                "onnx.save(onnx.load(path), path)",
                str(source),
            )
    return model


def _optimised(model: "ModelProto") -> Iterator[tuple[str, bytes]]:
    """Yield each level that is worth a try, and the optimised model in the runtime's format.

    With quantised operators the levels differ: extended fuses them, or turns weights into floats.
    """
    levels = ["extended"]
    if any(word in node.op_type.lower() for node in model.graph.node for word in _QUANTISED):
        levels.append("basic")
    with tempfile.TemporaryDirectory(prefix="npu-arena-") as folder:
        for level in levels:
            saved = Path(folder) / f"{level}.ort"
            runtime().optimise(
                model.SerializeToString(), level=_LEVELS[level], destination=str(saved)
            )
            yield level, in_one_order(saved.read_bytes())


def _observe(
    payload: bytes, source: Path, shapes: Shapes
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], TracedPlacement]:
    """Run a network on made-up inputs; return its inputs, its outputs and what it allocates."""
    memory = _aligned(payload)
    with runtime().tracing():
        session = runtime().open_session(memory.ctypes.data, len(payload))
        try:
            inputs = tuple(_shaped(spec, shapes) for spec in session.tensors("Input"))
            arrays = [_values(spec, seed=0) for spec in inputs]
            pointers = [array.ctypes.data for array in arrays]
            network = Network(session, inputs, session.tensors("Output"))
            placement = TracedPlacement()
            try:
                outputs = tuple(network.output_specs(placement, pointers))
            finally:
                placement.finish()
            first, second = (_trace(Network(session, inputs, outputs), seed) for seed in (0, 1))
        finally:
            session.close()
    if (first.sizes, first.lifetimes) != (second.sizes, second.lifetimes):
        raise DecodeError(
            f"two runs on different data allocate differently ({len(first.sizes)} and "
            f"{len(second.sizes)} blocks): the memory of such a network cannot be planned; cut out "
            "the part whose shapes depend on the data",
            str(source),
        )
    return inputs, outputs, first


def _shaped(spec: TensorSpec, shapes: Shapes) -> TensorSpec:
    """Return an input with the axes that its gear gives it."""
    if spec.name not in shapes:
        return spec
    shape = tuple(shapes[spec.name])
    return TensorSpec(spec.name, spec.dtype, shape, prod(shape) * ELEMENT_BYTES[spec.dtype])


def _trace(network: Network, seed: int) -> TracedPlacement:
    """Run once as the device does, with outputs in given memory, and return the allocations."""
    import numpy as np

    arrays = [_values(spec, seed) for spec in network.inputs]
    arrays += [np.empty(spec.shape, spec.dtype) for spec in network.outputs]
    placement = TracedPlacement()
    try:
        network.run(placement, [array.ctypes.data for array in arrays])
    finally:
        placement.finish()
    return placement


def _values(spec: TensorSpec, seed: int) -> "np.ndarray[Any, Any]":
    """Return made-up values: integers are 0 or 1, which any table has; seed 0 gives ones."""
    import numpy as np

    if seed == 0:
        return np.ones(spec.shape, spec.dtype)
    random = np.random.default_rng(seed)
    if spec.dtype.startswith("float"):
        return random.uniform(-1, 1, spec.shape).astype(spec.dtype)
    return random.integers(0, 2, spec.shape).astype(spec.dtype)


def _aligned(content: bytes) -> "np.ndarray[Any, Any]":
    """Return a copy of `content` that starts at a multiple of 64."""
    import numpy as np

    room = np.empty(len(content) + ALIGN_BYTES, np.uint8)
    start = -room.ctypes.data % ALIGN_BYTES
    room[start : start + len(content)] = np.frombuffer(content, np.uint8)
    return room[start:]


def _place(trace: TracedPlacement) -> tuple[int, int, Allocations]:
    """Return work bytes, their lower bound, and the trace with an offset for every block."""
    from planner.solvers import solve

    n = len(trace.sizes)
    problem = Problem(
        sizes=tuple(align_up(size, ALIGN_BYTES) for size in trace.sizes),
        lifetimes=tuple(trace.lifetimes),
        alignments=(ALIGN_BYTES,) * n,
    )
    found = solve(problem)
    assert found.assignment is not None, "without a capacity there is always a place"
    allocations = Allocations(
        sizes=tuple(trace.sizes),
        starts=tuple(start for start, _ in trace.lifetimes),
        ends=tuple(end for _, end in trace.lifetimes),
        offsets=found.assignment.offsets,
    )
    return found.assignment.height_bytes(problem), found.bound.lower_bound_bytes, allocations
