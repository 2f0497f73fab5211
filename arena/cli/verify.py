"""`arena verify`: proof by execution that sharing is safe for these models on this device."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import DeviceName, FleetOrPlanFile, JsonFlag
from arena.cli.output import emit_json, progress, warn
from arena.cli.overwriting import Reads

__all__ = ["verify"]


def verify(
    source: FleetOrPlanFile,
    device: DeviceName = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder of MODEL.INPUT.npy files; other inputs are seeded.",
        ),
        Reads(),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Execute every model alone, in poisoned memory, after and beside its sharers, bit for bit.

    Then a plan that overlaps on purpose must change outputs. Exits 0 when no output differed and
    the overlap was noticed, 1 otherwise.
    """
    from arena.session import open_plan_or_fleet
    from arena.verify import verify as judge_by_execution

    started = time.perf_counter()
    with progress("measuring models") as advance:
        opened = open_plan_or_fleet(source, progress=advance)
    warn(opened.warnings)
    with progress("verifying") as advance:
        verdict = judge_by_execution(opened, device=device, inputs=inputs, progress=advance)
    seconds = round(time.perf_counter() - started, 6)
    if as_json:
        emit_json(
            {
                "models": verdict.models,
                "instances": verdict.instances,
                "checks": verdict.checks,
                "mismatches": verdict.mismatches,
                "control_detected": verdict.control_detected,
                "failures": verdict.failures,
                "device": verdict.device,
                "seconds": seconds,
            }
        )
    else:
        control = "noticed" if verdict.control_detected else "NOT noticed: the checks prove little"
        sys.stdout.write(
            f"{verdict.models} models in {verdict.instances} instances on {verdict.device}: "
            f"{verdict.checks} outputs compared, {verdict.mismatches} differ, {seconds:.2f} s\n"
            f"overlap on purpose: {control}\n"
        )
        for failure in verdict.failures:
            sys.stdout.write(f"differs: {failure}\n")
    return 0 if verdict.is_safe else 1
