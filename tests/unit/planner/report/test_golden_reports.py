"""Golden reports: what they say changes only on purpose. Regenerate with `REPORTS_GOLDEN=write`."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.capacity import Capacity, DeviceModel, capacity_of
from planner.report.capacity_text import capacity_text
from planner.report.figures import capacity_figures
from planner.report.svg import arena_svg
from planner.report.tables import capacity_markdown, instances_csv
from planner.units import GiB
from tests.plans import street_corner

GOLDEN = Path(__file__).parents[3] / "golden"
DEVICES = (DeviceModel("box", ("a box",), 8 * GiB, 7 * GiB, GiB, "made up"),)
REPORTS: dict[str, Callable[[Capacity], str]] = {
    "txt": capacity_text,
    "md": capacity_markdown,
    "svg": lambda capacity: arena_svg(capacity.plan),
    "csv": lambda capacity: instances_csv(capacity.plan),
    "json": lambda capacity: json.dumps(capacity_figures(capacity), indent=1) + "\n",
}


@pytest.mark.parametrize("form", REPORTS)
def test_the_report_is_the_golden_one(form: str) -> None:
    text = REPORTS[form](capacity_of(street_corner(), DEVICES))
    golden = GOLDEN / f"street-corner.report.{form}"
    if os.environ.get("REPORTS_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()
