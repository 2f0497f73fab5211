"""`arena solve`: the solver on a raw instance."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, live_line

__all__ = ["solve"]


def solve(
    instance: Annotated[
        Path,
        typer.Argument(metavar="INSTANCE", help="CSV id,lower,upper,size or JSON sizes and edges."),
    ],
    capacity: Annotated[
        str | None, typer.Option("--capacity", metavar="SIZE", help="Height to fit in.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="Time after which the best is taken.")
    ] = 10.0,
    as_json: JsonFlag = False,
) -> int:
    """Place the buffers of an instance as low as possible, with a proof where there is one.

    Exits 0 with a placement (within --capacity where given), 1 when there is none.
    """
    from arena.files import read_bytes
    from planner.problem import SolveStatus
    from planner.problem_file import read_problem
    from planner.solvers import SolveOptions
    from planner.solvers import solve as solve_problem
    from planner.units import format_bytes, parse_bytes

    started = time.perf_counter()
    capacity_bytes = None if capacity is None else parse_bytes(capacity, "--capacity")
    raw = read_problem(read_bytes(instance), instance.suffix, capacity_bytes=capacity_bytes)
    with live_line() as report:
        solution = solve_problem(
            raw.problem, SolveOptions(seconds=seconds), bound=raw.bound(), report=report
        )
    elapsed = round(time.perf_counter() - started, 6)
    found = solution.assignment
    height = None if found is None else found.height_bytes(raw.problem)
    if as_json:
        emit_json(
            {
                "height_bytes": height,
                "lower_bound_bytes": solution.bound.lower_bound_bytes,
                "status": solution.status.value,
                "offsets": None if found is None else list(found.offsets),
                "witness": [raw.ids[index] for index in solution.bound.witness],
                "capacity_bytes": capacity_bytes,
                "solver": solution.solver,
                "seconds": elapsed,
            }
        )
    else:
        bound = solution.bound.lower_bound_bytes
        shown = "none" if height is None else f"{height} bytes ({format_bytes(height)})"
        sys.stdout.write(
            f"{instance.name}: {raw.problem.n} buffers, height {shown}, lower bound {bound} bytes, "
            f"{solution.status.value}, found by {solution.solver or '-'} in {elapsed:.3f} s\n"
        )
    return 0 if solution.status in (SolveStatus.OPTIMAL, SolveStatus.FEASIBLE) else 1
