"""`arena demo`: real networks read, hear and recognise in shared memory."""

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, progress

if TYPE_CHECKING:
    from arena.demo import DemoReport, Progress

__all__ = ["demo"]


def demo(as_json: JsonFlag = False) -> int:
    """Fetch five small networks, run them as a fleet in shared memory, and tell what it took.

    Four cameras read street signs, a microphone listens, files are told apart. 29 MB are fetched at
    the first run. Exits 0 when every compared output was right, 1 otherwise, 3 when a model cannot
    be fetched or the device fails.
    """
    from arena.demo import fetch_demo_models, run_demo

    started = time.perf_counter()
    with ExitStack() as bars:

        def bar(name: str) -> "Progress":
            bars.close()
            if not sys.stderr.isatty():
                sys.stderr.write(f"preparing {name}\n")
            advance: Progress = bars.enter_context(progress(f"preparing {name}"))
            return advance

        fetch_demo_models(bar)
    with progress("running") as advance:
        report = run_demo(progress=advance)
    seconds = round(time.perf_counter() - started, 6)
    if as_json:
        emit_json({**_mapping(report), "seconds": seconds})
    else:
        for line in report.text():
            sys.stdout.write(line + "\n")
        sys.stdout.write(f"{seconds:.1f} s\n")
    return 0 if report.mismatches == 0 else 1


def _mapping(report: "DemoReport") -> dict[str, object]:
    from arena.demo_models import DEMO_MODELS

    plan, corner = report.plan, report.corner
    return {
        "texts_read": report.texts_read,
        "frames": len(corner.readings),
        "frames_right": report.frames_right,
        "heard": corner.heard,
        "file_types": corner.file_types,
        "mismatches": report.mismatches,
        "planned_bytes": plan.planned_bytes,
        "private_bytes": plan.private_bytes,
        "height_bytes": plan.height_bytes,
        "weight_bytes": plan.weight_bytes,
        "lower_bound_bytes": plan.lower_bound_bytes,
        "status": plan.status.value,
        "measured_process_bytes": report.measured_process_bytes,
        "sessions_process_bytes": report.sessions_process_bytes,
        "ratio": round(report.ratio, 6),
        "models": [
            {
                "model": name,
                "task": model.task,
                "package": model.wheel.package,
                "version": model.wheel.version,
                "licence": model.wheel.licence,
            }
            for name, model in DEMO_MODELS.items()
        ],
    }
