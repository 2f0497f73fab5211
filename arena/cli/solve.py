"""`arena solve`: the solver on a raw instance."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.limits import size_of
from arena.cli.output import emit_json, live_line
from arena.cli.overwriting import Reads

if TYPE_CHECKING:
    from planner.problem import Bound
    from planner.problem_file import ProblemFile

__all__ = ["solve"]

ROUNDS_MAX: Final = 64
"""Rounds double their limits: time ends the search, not this."""


def solve(
    instance: Annotated[
        Path,
        typer.Argument(metavar="INSTANCE", help="CSV id,lower,upper,size or JSON sizes and edges."),
        Reads(),
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
    from arena.files import read_text
    from planner.problem import SolveStatus
    from planner.problem_file import decode_problem
    from planner.solvers import SolveOptions
    from planner.solvers import solve as solve_problem
    from planner.units import format_bytes

    started = time.perf_counter()
    capacity_bytes = None if capacity is None else size_of(capacity, "--capacity")
    raw = decode_problem(read_text(instance))
    problem = raw.problem
    if capacity_bytes is not None:
        problem = replace(problem, capacity_bytes=capacity_bytes)
    deadline = started + seconds
    with live_line() as report:
        solution = solve_problem(
            problem,
            SolveOptions(seconds=seconds, rounds_max=ROUNDS_MAX),
            bound=_order_bound(raw),
            report=report,
            should_stop=lambda: time.perf_counter() > deadline,
        )
    elapsed = round(time.perf_counter() - started, 6)
    found = solution.assignment
    height = None if found is None else found.height_bytes(problem)
    if as_json:
        emit_json(
            {
                "height_bytes": height,
                "lower_bound_bytes": solution.bound.lower_bound_bytes,
                "status": solution.status.value,
                "offsets": None if found is None else list(found.offsets),
                "witness": [raw.ids[index] for index in solution.bound.witness],
                "capacity_bytes": problem.capacity_bytes,
                "solver": solution.solver,
                "seconds": elapsed,
            }
        )
    else:
        bound = solution.bound.lower_bound_bytes
        shown = "none" if height is None else f"{height} bytes ({format_bytes(height)})"
        sys.stdout.write(
            f"{instance.name}: {problem.n} buffers, height {shown}, lower bound {bound} bytes, "
            f"{solution.status.value}, found by {solution.solver or '-'} in {elapsed:.3f} s\n"
        )
    return 0 if solution.status in (SolveStatus.OPTIMAL, SolveStatus.FEASIBLE) else 1


def _order_bound(raw: "ProblemFile") -> "Bound | None":
    """Return the heaviest antichain where the conflicts come from an order; None elsewhere."""
    if raw.order is None:
        return None
    from planner.bounds.antichain import heaviest_antichain

    return heaviest_antichain(raw.problem.sizes, raw.order)
