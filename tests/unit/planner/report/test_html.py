"""The page: its figures are the JSON's, hostile names stay text, nothing outside is named."""

import json
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from planner.capacity import Account, Kind, WhatIfOptions, capacity_of, what_if
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.measured import FleetReport, Reading, Stage
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.report.figures import capacity_figures, what_if_figures
from planner.report.html import capacity_html
from planner.report.tables import capacity_markdown
from planner.units import MiB, format_bytes
from tests.hostile import HOSTILE, hostile_plan
from tests.plans import street_corner


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.cells: list[str] = []
        self.numbers: list[str] = []
        self._in_cell = self._is_number = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or "code"
        if tag == "td":
            self._in_cell = True
            self._is_number = dict(attrs).get("class") == "n"
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None
        if tag == "td" and self._in_cell:
            self._in_cell = False
            self.numbers += [self.cells[-1]] * self._is_number

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        if self._in_cell:
            self.cells[-1] += data


def integers(value: object) -> Iterator[int]:
    """Yield every integer inside a JSON value."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from integers(item)


@pytest.mark.parametrize("plan", [street_corner(), hostile_plan(), hostile_plan(limit=None)])
def test_no_figure_of_the_page_differs_from_the_json(plan: Plan) -> None:
    capacity, tables = capacity_of(plan), what_if(plan)
    page = Page(capacity_html(capacity, tables))
    figures = json.loads(page.scripts["figures"])
    assert figures == json.loads(json.dumps(capacity_figures(capacity)))
    assert json.loads(page.scripts["what-if"]) == what_if_figures(tables)
    for kind in figures["bytes_by_kind"].values():
        assert not kind or {format_bytes(kind), str(kind)} <= set(page.cells)
    for item in figures["strategies"]:
        assert format_bytes(item["bytes"]) in page.cells
    known = set(integers(figures))
    shown = {str(number) for number in known} | {format_bytes(number) for number in known}
    shown |= {f"{number:#x}" for number in known} | {"-"}
    numbers = [cell.partition(" to ")[0] for cell in page.numbers]
    assert len(numbers) > 7 * len(figures["instances"])
    assert [number for number in numbers if number not in shown] == []


def test_hostile_names_make_no_element_and_no_attribute() -> None:
    plan = hostile_plan()
    text = capacity_html(capacity_of(plan), what_if(plan))
    tags = Page(text).tags
    assert [tag for tag, _ in tags].count("script") == 3
    assert "img" not in {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in text  # a name, not an expression
    assert HOSTILE[6][:4] in text
    assert max(len(cell) for cell in Page(text).cells) <= 200


def test_the_page_names_the_owners_of_bytes() -> None:
    capacity = capacity_of(street_corner())
    text = capacity_html(capacity, ())
    owners = text.partition('id="owners"')[2].partition("</details>")[0]
    assert owners.count("<tr><td>") == len(capacity.accounts)
    assert "<td>system</td><td>reserves</td>" in owners
    many = tuple(Account(f"i{n}", Kind.WORK, n) for n in range(1, 1_001))
    text = capacity_html(replace(capacity, accounts=many), ())
    assert "The 200 largest of 1000." in text
    assert "<td>i1000</td>" in text


def test_the_page_may_fetch_nothing() -> None:
    plan = street_corner()
    page = Page(capacity_html(capacity_of(plan), what_if(plan)))
    policy = [a["content"] for tag, a in page.tags if "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"]
    assert not [a for _, a in page.tags if "src" in a or "href" in a]


def planned(lane: str, channels: int) -> Plan:
    model = ModelSpec(ModelId("m"), work_bytes=2 * MiB - 512, weight_bytes=0)
    pipeline = PipelineSpec("p", (StepSpec("s", model.id, lane),), channels)
    return plan_fleet(
        FleetSpec("f", (model,), (pipeline,), DeviceSpec()), {model.id: ModelSize(2 * MiB - 512, 0)}
    )


def test_what_if_plans_every_number_within_its_limits() -> None:
    (own,) = what_if(planned("l-{channel}", 2), WhatIfOptions(channels_max=4))
    assert own.points == tuple((n, n * 2 * MiB) for n in range(1, 5))
    assert not own.constant
    (cut,) = what_if(planned("l-{channel}", 9), WhatIfOptions(planned_max=3))
    assert cut.points == ((9, 9 * 2 * MiB),)
    (near,) = what_if(planned("l-{channel}", 9), WhatIfOptions(planned_max=18))
    assert [channels for channels, _ in near.points] == [8, 9, 10]
    for channels in (1, 3):
        (shared,) = what_if(planned("l", channels))
        assert shared.constant
        assert {needed for _, needed in shared.points} == {2 * MiB}
    (unknown,) = what_if(planned("l", 1), WhatIfOptions(planned_max=0))
    assert not unknown.constant
    assert own.streams == (1, 2, 3, 4)


@pytest.mark.parametrize(("mismatches", "words"), [(0, "0 differ"), (1, "1 differs")])
def test_outputs_that_differ_are_told(mismatches: int, words: str) -> None:
    """Whoever runs a fleet without the guard and keeps the page alone must read of it there."""
    capacity = capacity_of(street_corner())
    report = FleetReport("twin", 64 * MiB, 0, 4 * MiB, 0, (), executions=6, mismatches=mismatches)
    told = f"6 outputs compared with those of each model alone: {words}"
    kind = "no" if mismatches else "yes"
    assert f'<p class="{kind}">{told}</p>' in capacity_html(capacity, (), [report])
    assert told in capacity_markdown(capacity, [report])
    (found,) = capacity_figures(capacity, [report])["measured"]
    assert (found["executions"], found["mismatches"]) == (6, mismatches)


def test_measured_stands_beside_planned() -> None:
    capacity = capacity_of(street_corner())
    rows = (
        Reading(Stage.RESERVED, None, 4 * MiB, 4 * MiB),
        Reading(Stage.LOADED, InstanceId(f"{HOSTILE[0]}@x"), 5 * MiB, 4 * MiB),
        Reading(Stage.ASKED, None, -MiB, 6 * MiB),
    )
    reports = [FleetReport(f"npu{n}", 64 * MiB, n, 4 * MiB, 2 * MiB, rows) for n in (0, 1)]
    text = capacity_html(capacity, what_if(capacity.plan), reports)
    page = Page(text)
    figures = json.loads(page.scripts["figures"])
    assert figures == json.loads(json.dumps(capacity_figures(capacity, reports)))
    assert [found["device"] for found in figures["measured"]] == ["npu0", "npu1"]
    for found, report in zip(figures["measured"], reports, strict=True):
        for (_, size), key in zip(
            report.rows(),
            (
                "planned_bytes",
                "outside_bytes",
                "reserved_bytes",
                "loaded_bytes",
                "loading_peak_bytes",
                "running_peak_bytes",
                "unmodelled_loading_bytes",
                "unmodelled_running_bytes",
            ),
            strict=True,
        ):
            assert found[key] == size
            assert {format_bytes(size), str(size)} <= set(page.cells)
        assert report.pages_words() in unescape(text)
        assert report.below_words() in text
        assert report.pages_words() in capacity_markdown(capacity, [report])
    assert "<script>" not in text.replace('<script>\n"use strict"', "", 1)
    many = replace(reports[0], readings=rows * 50)
    assert "100 of 150 readings" in capacity_html(capacity, what_if(capacity.plan), [many])
    assert "Measured beside planned" not in capacity_html(capacity, what_if(capacity.plan))
