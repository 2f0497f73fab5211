"""Reports at size: figures of 1,000 instances, the page in a browser, how many channels fit.

python -m bench.reports [--markdown bench/reports.md]

The page is opened in headless Chromium where that is installed. Its times are the page's own clock:
from the start of navigation to the load event, and around the handler that answers a
what-if. Planning and figures are minima of `ROUNDS` rounds.
"""

import argparse
import json
import platform
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

from arena.catalogue import device_catalogue
from bench.fleets import many_instances
from planner.capacity import capacity_of, channels_fit, what_if
from planner.explanation import explain_misfit
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.report.capacity_text import capacity_text
from planner.report.html import capacity_html
from planner.units import GiB, MiB

ROUNDS = 3
PROBE = """<script>
addEventListener("load", () => {
  const load = performance.now();
  const times = [];
  for (let count = 1; count <= 20; count += 1) {
    const started = performance.now();
    channels.value = count;
    channels.dispatchEvent(new Event("input", {bubbles: true}));
    answer.getBoundingClientRect();  // with the layout that it causes
    times.push(performance.now() - started);
  }
  const found = document.createElement("pre");
  found.id = "bench-result";
  found.textContent = JSON.stringify({load_ms: load, what_if_ms: Math.max(...times)});
  document.body.append(found);
});
</script>"""


def cameras(seed: int, *, own_lanes: int, shared_lanes: int = 0, models: int = 20) -> FleetSpec:
    """Return one pipeline of many models whose channels bring lanes of their own, and share some.

    Seed 1 with six lanes of their own was the slowest of those tried.
    """
    rng = random.Random(seed)
    specs = tuple(
        ModelSpec(
            ModelId(f"model-{i:02}"),
            work_bytes=int(MiB * 10 ** rng.uniform(-0.5, 1.3)),
            weight_bytes=int(MiB * 10 ** rng.uniform(0, 1.5)),
        )
        for i in range(models)
    )
    steps = []
    for i, model in enumerate(specs):
        earlier = (
            {rng.randrange(max(0, i - 4), i) for _ in range(rng.choice((0, 1, 2)))} if i else ()
        )
        lane = rng.randrange(own_lanes + shared_lanes)
        own = "" if lane < shared_lanes else "-{channel}"
        after = tuple(f"step-{j:02}" for j in sorted(earlier))
        steps.append(StepSpec(f"step-{i:02}", model.id, f"lane-{lane}{own}", after))
    return FleetSpec("cameras", specs, (PipelineSpec("camera", tuple(steps), channels=4),))


def planned(fleet: FleetSpec, limit_bytes: int) -> Plan:
    sizes = {m.id: ModelSize(m.work_bytes or 0, m.weight_bytes or 0) for m in fleet.models}
    return plan_fleet(replace(fleet, device=DeviceSpec(limit_bytes)), sizes)


def least_seconds(call: Callable[[], object]) -> float:
    """Return the least of `ROUNDS` rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)


def opened(text: str) -> dict[str, Any] | None:
    """Return the page's own times in headless Chromium; None where there is none."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(text.replace("</body>", f"{PROBE}</body>"))
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *(f"--user-data-dir={folder}/profile", "--dump-dom"),
                page.as_uri(),
            ],
            capture_output=True,
            check=True,
            text=True,
            timeout=120,
        )
    found = done.stdout.partition('<pre id="bench-result">')[2].partition("</pre>")[0]
    result = json.loads(unescape(found))
    assert isinstance(result, dict)
    return result


def rows() -> list[tuple[str, str, str]]:
    """Return (what, figure, goal) of everything that is measured."""
    large = planned(many_instances(1_000), GiB)
    devices = device_catalogue()
    capacity = capacity_of(large, devices)
    text = capacity_html(capacity, what_if(large))
    figures = least_seconds(lambda: capacity_text(capacity_of(large, devices)))
    whole = least_seconds(lambda: capacity_html(capacity_of(large, devices), what_if(large)))
    table = [
        ("report of 1,000 instances, as text", f"{figures:.2f} s", "3 s"),
        ("the same as a page, what-if plans included", f"{whole:.2f} s", ""),
        ("size of that page", f"{len(text.encode()) / MiB:.2f} MiB", "1.5 MiB"),
    ]
    page = opened(text)
    if page is None:
        table.append(("page in Chromium", "not installed here", ""))
    else:
        table.append(
            ("page in Chromium, until it is loaded", f"{page['load_ms'] / 1e3:.2f} s", "2 s")
        )
        table.append(("slowest of 20 what-ifs there", f"{page['what_if_ms']:.1f} ms", "100 ms"))
    for words, fleet in (
        ("1,000 instances", many_instances(1_000)),
        ("20 models in 4 channels", cameras(1, own_lanes=6)),
    ):
        short = planned(fleet, planned(fleet, 1 << 50).needed_bytes * 4 // 5)
        seconds = least_seconds(partial(explain_misfit, short, devices))
        table.append((f"why a fifth too much does not fit, {words}", f"{seconds:.2f} s", ""))
    for words, fleet in (
        ("lanes of their own", cameras(1, own_lanes=6)),
        ("lanes of their own and a shared one", cameras(1, own_lanes=5, shared_lanes=1)),
        ("shared lanes and their own", cameras(1, own_lanes=3, shared_lanes=3)),
    ):
        plan = planned(fleet, 3 * GiB)
        (answer,) = channels_fit(plan)
        seconds = least_seconds(partial(channels_fit, plan))
        what = f"how many channels fit, 20 models, {words}: {answer.largest}"
        table.append((what, f"{seconds:.2f} s", "2 s"))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    lines = ["| what | measured | goal |", "|---|--:|--:|"]
    lines += [f"| {what} | {figure} | {goal} |" for what, figure, goal in rows()]
    print("\n".join(lines))
    if arguments.markdown:
        head = (
            "# Reports at size\n\nMade by `python -m bench.reports --markdown bench/reports.md`, "
            f"Python {platform.python_version()}, {platform.machine()}; minima of {ROUNDS} "
            "rounds.\n\n"
        )
        arguments.markdown.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
