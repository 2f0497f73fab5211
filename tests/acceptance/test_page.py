"""The page used in a real browser: hover, sort, filter, what-if, no error, no request."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from itertools import pairwise
from math import radians, sin
from pathlib import Path
from typing import Any

import pytest

from planner.capacity import DeviceModel, capacity_of, what_if
from planner.explanation import explain_misfit
from planner.fleet_file import parse_fleet
from planner.measured import FleetReport, Reading, Stage
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.report.html import capacity_html
from planner.units import GiB, KiB, MiB, format_bytes
from tests.fleets import declared_sizes
from tests.hostile import hostile_plan
from tests.plans import street_corner

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
EARLY = """<script>
window.failures = [];
addEventListener("error", (event) => failures.push(event.message));
addEventListener("securitypolicyviolation", (event) => failures.push(event.violatedDirective));
</script>"""
SIZES = [0, 1023, 640, *(k * unit // 8 for k in range(-9, 99) for unit in (KiB, MiB, GiB))]
"""Eighths have two digits after the point or lie midway between two numbers that have."""
ACTIONS = """<script>
const result = {}, SIZES = [];
const type = (id, text) => {
  byId(id).value = text;
  byId(id).dispatchEvent(new Event("input", {bubbles: true}));
};
const shown = () => rows.filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
const column = (index) => [...body.rows].map((row) => Number(row.cells[index].dataset.v));
result.answer = answer.textContent;
type("limit", "0.001");
result.short = answer.textContent;
type("channels", "100000");
result.unplanned = answer.textContent;
heads[3].querySelector("button").click();
result.ascending = column(3);
heads[3].querySelector("button").click();
result.descending = column(3);
result.sorted = heads[3].getAttribute("aria-sort");
heads[0].querySelector("button").click();
result.names = shown();
type("filter", "tracking");
result.filtered = shown();
result.count = count.textContent;
const region = document.querySelector("#arena rect");
region.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
result.hover = owner.textContent;
owner.textContent = "";
region.focus();
result.focused = document.activeElement === region;
result.owner = region.dataset.owner;
result.stops = document.querySelectorAll("#arena [tabindex='0']").length;
const at = () => regions.indexOf(document.activeElement);
const press = (key) => {
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  // A window not yet in front moves its focus without an event.
  if (!document.hasFocus())
    document.activeElement.dispatchEvent(new FocusEvent("focusin", {bubbles: true}));
};
press("End");
result.last = [owner.textContent, document.activeElement.getAttribute("aria-label"), at()];
press("ArrowRight");
press("ArrowLeft");
result.before = at();
result.regions = regions.length;
press("Home");
result.first = [at(), regions.filter((region) => region.tabIndex === 0).length];
type("limit", "");
result.answers = tables.map((table, index) => {
  pipeline.value = index;
  pipeline.dispatchEvent(new Event("change"));
  return ["1", "3", "2.5", "0", ""].map((n) => (type("channels", n), answer.textContent));
});
result.sizes = SIZES.map(size);
result.beyond = [...document.querySelectorAll(".readings .unsafe")]
  .map((part) => Math.round(100 * part.offsetWidth / part.parentNode.offsetWidth));
result.ways = document.querySelectorAll("#ways tbody tr").length;
result.priced = figures.explanation ? figures.explanation.ways_out.length : -1;
result.resources = performance.getEntriesByType("resource").length;
result.scripts = document.scripts.length;
result.failures = failures;
const report = document.createElement("pre");
report.id = "test-result";
report.textContent = JSON.stringify(result);
document.body.append(report);
</script>"""


@pytest.fixture
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed here")
    return found


def shown(browser: str, page: Path, *words: str) -> str:
    """Open a page and return its elements as they are once its scripts have run."""
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [browser, *FLAGS, profile, *words, "--dump-dom", page.as_uri()],
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    )
    return done.stdout


def used(
    browser: str, plan: Plan, folder: Path, measured: Sequence[FleetReport] = ()
) -> dict[str, Any]:
    """Open the page of a plan, do what `ACTIONS` does, and return what it saw."""
    text = capacity_html(capacity_of(plan), what_if(plan), measured, explain_misfit(plan))
    page = folder / "page.html"
    page.write_text(
        text.replace("<head>", f"<head>{EARLY}", 1).replace(
            "</body>", f"{ACTIONS.replace('SIZES = []', f'SIZES = {SIZES}')}</body>"
        )
    )
    dom = shown(browser, page)
    _, _, rest = dom.partition('<pre id="test-result">')
    assert rest, dom[-2000:]
    result = json.loads(unescape(rest.partition("</pre>")[0]))
    assert isinstance(result, dict)
    return result


def test_people_use_the_page(browser: str, tmp_path: Path) -> None:
    plan = street_corner()
    rows = (
        Reading(Stage.RESERVED, None, 4 * MiB, 4 * MiB),
        Reading(Stage.FIRST_RUN, plan.instances[0].id, 6 * MiB, 4 * MiB),
    )
    measured = FleetReport("acl", 64 * MiB, MiB, 4 * MiB, 2 * MiB, rows)
    found = used(browser, plan, tmp_path, [measured])
    assert found["failures"] == []
    assert found["resources"] == 0
    assert found["beyond"] == [33]  # 2 MiB of 6
    needed = plan.needed_bytes
    assert found["answer"].startswith(f"2 channels need {format_bytes(needed)} ({needed} bytes)")
    assert "fits with" in found["answer"]
    assert "does not fit" in found["short"]
    assert found["unplanned"].startswith("100000 channels need")  # they share their instances
    assert found["ascending"] == sorted(row.work_bytes for row in plan.instances)
    assert found["descending"] == found["ascending"][::-1]
    assert found["sorted"] == "descending"
    assert sorted(found["names"]) == sorted(row.id for row in plan.instances)
    assert found["filtered"] == [
        row.id for row in sorted(plan.instances, key=lambda r: r.id) if row.lane == "tracking"
    ]
    assert found["count"] == f"{len(found['filtered'])} of {len(plan.instances)}"
    assert found["hover"].startswith(found["owner"])
    assert found["focused"] is True


def test_the_page_says_sizes_as_the_report_does(browser: str, tmp_path: Path) -> None:
    found = used(browser, street_corner(), tmp_path)
    assert found["sizes"] == [format_bytes(size) for size in SIZES]


def test_the_picture_is_one_stop_and_arrows_move_in_it(browser: str, tmp_path: Path) -> None:
    found = used(browser, street_corner(), tmp_path)
    assert found["stops"] == 1
    said, label, last = found["last"]
    assert (said, last) == (label, found["regions"] - 1)
    assert found["before"] == last - 1
    assert found["first"] == [0, 1]


def test_what_if_answers_whole_numbers_and_counts_streams(browser: str, tmp_path: Path) -> None:
    plan = street_corner()
    plan = replace(
        plan, fleet=replace(plan.fleet, device=replace(plan.fleet.device, streams_max=1))
    )
    for answers in used(browser, plan, tmp_path)["answers"]:
        one, three, *no_numbers = answers
        assert "1 channel needs" in one
        assert "streams of 1" in one
        assert "3 channels need" in three
        assert all(words.startswith("Planned ahead for") for words in no_numbers)


def test_paper_has_what_the_screen_scrolls_to(browser: str, tmp_path: Path) -> None:
    """Nothing is cut off at the edge of a sheet: no section is wider than the page when printed."""
    plan = hostile_plan()
    page = tmp_path / "page.html"
    text = capacity_html(capacity_of(plan), what_if(plan))
    measure = """<script>
    document.title = [...document.querySelectorAll(".scroll")].map((part) =>
      [getComputedStyle(part).overflowX, part.scrollWidth - part.clientWidth].join()).join(";");
    </script>"""
    page.write_text(
        text.replace("@media print", "@media all").replace("</body>", f"{measure}</body>")
    )
    dom = shown(browser, page, "--window-size=720,1000")
    title = dom.partition("<title>")[2].partition("</title>")[0]
    assert [part.split(",") for part in title.split(";")] == [["visible", "0"]] * 2


NARROW = """<script>
document.title = JSON.stringify([...document.querySelectorAll("table, p, output, .controls")]
  .filter((part) => !part.closest(".scroll"))
  .filter((part) => part.getBoundingClientRect().right > 420
    || part.scrollWidth > part.clientWidth + 1)
  .map((part) => part.textContent.slice(0, 40)));
</script>"""


@pytest.mark.parametrize("limit", [1 << 30, 4 << 20])
def test_a_telephone_shows_all_but_what_scrolls(browser: str, tmp_path: Path, limit: int) -> None:
    """At 420 pixels nothing runs off the page."""
    fleet = parse_fleet((ROOT / "docs" / "fleets" / "street-tracking.yaml").read_text())
    fleet = replace(fleet, device=replace(fleet.device, memory_bytes=limit))
    plan = plan_fleet(fleet, declared_sizes(fleet))
    explanation = None if plan.fits else explain_misfit(plan)
    page = tmp_path / "page.html"
    devices = (DeviceModel("Ascend310P-Duo-48GB", (), 48 * GiB, 21 * GiB, GiB, "made up"),)
    text = capacity_html(capacity_of(plan, devices), what_if(plan), explanation=explanation)
    text = text.replace("@media (max-width: 40rem)", "@media all")
    narrow = "<style>html { width: 420px; }</style>"
    page.write_text(text.replace("</body>", f"{narrow}{NARROW}</body>"))
    dom = shown(browser, page, "--window-size=1100,2000")
    found = json.loads(unescape(dom.partition("<title>")[2].partition("</title>")[0]))
    assert found == []


LAYOUT = """<script>
const svg = document.querySelector("#arena svg"), frame = svg.getBoundingClientRect();
const texts = [...svg.querySelectorAll("text")];
document.title = JSON.stringify({
  cut: [...document.querySelectorAll(".scroll")].map((part) => part.scrollWidth - part.clientWidth),
  outside: texts.filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left || box.right > frame.right || box.bottom > frame.bottom;
  }).map((text) => text.textContent),
  names: texts.filter((text) => text.hasAttribute("transform")).map((text) => {
    const box = text.getBBox(), angle = Number(text.getAttribute("transform").match(/-(\\d+)/)[1]);
    return [Number(text.getAttribute("x")), angle, box.height];
  }),
});
</script>"""


@pytest.mark.parametrize("channels", [1, 4, 9, 12, 14])
def test_a_page_of_many_instances_shows_all_of_them(
    browser: str, tmp_path: Path, channels: int
) -> None:
    """No column is cut off at 1,100 pixels; in the picture no name runs into another or outside."""
    fleet = parse_fleet((ROOT / "docs" / "fleets" / "yard.yaml").read_text())
    fleet = replace(fleet, pipelines=(replace(fleet.pipelines[0], channels=channels),))
    plan = plan_fleet(fleet, declared_sizes(fleet))
    page = tmp_path / "page.html"
    text = capacity_html(capacity_of(plan), what_if(plan))
    page.write_text(text.replace("</body>", f"{LAYOUT}</body>"))
    dom = shown(browser, page, "--window-size=1100,2000")
    found = json.loads(unescape(dom.partition("<title>")[2].partition("</title>")[0]))
    assert found["cut"] == [0, 0]
    assert found["outside"] == []
    assert len(found["names"]) == len(fleet.models) + (3 * channels if channels < 14 else channels)
    for (left, angle, height), (right, _, _) in pairwise(found["names"]):
        if right > left:  # else: the first of the other reservation
            assert (right - left) * sin(radians(angle)) > 0.85 * height, (angle, height)


@pytest.mark.parametrize("limit", [1 << 30, 1])
def test_hostile_names_run_nothing(browser: str, tmp_path: Path, limit: int) -> None:
    found = used(browser, hostile_plan(limit=limit), tmp_path)
    assert found["ways"] == (0 if limit > 1 else found["priced"])
    assert found["failures"] == []
    assert found["resources"] == 0
    assert found["scripts"] == 3 + 2  # the page's own, and this test's


def test_the_page_is_laid_out(browser: str, tmp_path: Path) -> None:
    """A screenshot has content: a page that draws nothing compresses to almost nothing."""
    plan = street_corner()
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(capacity_html(capacity_of(plan), what_if(plan)))
    shown(browser, page, "--window-size=1100,2000", f"--screenshot={picture}")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 50_000
