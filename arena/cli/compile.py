"""`arena compile`: an ONNX file becomes a file for the CPU device, as ATC makes .om files."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json
from arena.cli.overwriting import Reads, Writes
from arena.cli.shapes import ShapeOptions, given_by_options, parse_axes, parse_shapes
from planner.fleet import ModelSpec
from planner.model import ModelId

__all__ = ["compile_onnx"]


def compile_onnx(
    source: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx", help="A model in one file."), Reads()
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="MODEL.arena", help="The file to write."),
        Writes(),
    ],
    shapes: ShapeOptions = None,
    gears: Annotated[
        list[str] | None,
        typer.Option(
            "--gear",
            metavar="NAME=8,3,320,320",
            help="Axes of an input in one gear, of which each execution chooses one; once for each "
            "gear and input, gears in one order.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Compile an ONNX model for the CPU device: fix shapes, optimise, trace and place memory.

    The file fits this version of ONNX Runtime and this kind of machine. A fleet file may also name
    the .onnx file itself: it is then compiled once, into a cache.
    """
    from arena.device.cpu.compile import compile_model
    from planner.units import format_bytes

    started = time.perf_counter()
    with given_by_options():
        model = compile_model(
            source, output, parse_shapes(shapes or ()), _parse_gears(source, gears or ())
        )
    seconds = round(time.perf_counter() - started, 6)
    if as_json:
        emit_json(
            {
                "file": str(output),
                "work_bytes": model.work_bytes,
                "weight_bytes": model.weight_bytes,
                "lower_bound_bytes": model.lower_bound_bytes,
                "inputs": [_tensor(t.name, t.dtype, t.shape) for t in model.inputs],
                "outputs": [_tensor(t.name, t.dtype, t.shape) for t in model.outputs],
                "runtime": model.compiled_for.runtime,
                "machine": model.compiled_for.machine,
                "gears": [
                    {
                        "gear": list(gear.choice),
                        "work_bytes": gear.work_bytes,
                        "inputs": [_tensor(t.name, t.dtype, t.shape) for t in gear.inputs],
                        "outputs": [_tensor(t.name, t.dtype, t.shape) for t in gear.outputs],
                    }
                    for gear in model.gears
                ],
                "seconds": seconds,
            }
        )
        return 0
    sys.stdout.write(
        f"{output}: for {model.compiled_for}\n"
        f"  work     {format_bytes(model.work_bytes)} ({model.work_bytes} bytes; lower bound "
        f"{model.lower_bound_bytes})\n"
        f"  weights  {format_bytes(model.weight_bytes)} ({model.weight_bytes} bytes)\n"
    )
    for what, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in tensors:
            sys.stdout.write(f"  {what:<8} {tensor.name} {tensor.dtype} {list(tensor.shape)}\n")
    for gear in model.gears:
        shapes_now = ", ".join(f"{t.name} {list(t.shape)}" for t in gear.inputs)
        sys.stdout.write(
            f"  gear     {'x'.join(map(str, gear.choice))}: {shapes_now}, work "
            f"{format_bytes(gear.work_bytes)}\n"
        )
    return 0


def _tensor(name: str, dtype: str, shape: Sequence[int]) -> dict[str, object]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def _parse_gears(source: Path, texts: Sequence[str]) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Return input name -> axes of each gear; checked as those of a fleet file are."""
    columns: dict[str, list[tuple[int, ...]]] = {}
    for text in texts:
        name, axes = parse_axes("--gear", text)
        columns.setdefault(name, []).append(axes)
    gears = tuple((name, tuple(shapes)) for name, shapes in columns.items())
    return ModelSpec(ModelId("model"), file=source.name, gears=gears).gear_shapes()
