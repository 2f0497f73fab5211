"""Why it does not fit, as text, Markdown, JSON and on the page; golden where it is for people."""

import json
import os
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import jsonschema
import pytest

from planner.capacity import DeviceModel, capacity_of, what_if
from planner.columns import columns
from planner.explanation import (
    Culprits,
    Explanation,
    ExplanationOptions,
    WaysOptions,
    explain_misfit,
)
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, ScheduleSpec, StepSpec
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.report.capacity_text import capacity_text
from planner.report.explanation import (
    CULPRITS_MAX,
    culprits_words,
    explanation_figures,
    explanation_text,
)
from planner.report.figures import capacity_figures
from planner.report.html import capacity_html
from planner.report.schema import report_schema
from planner.report.tables import capacity_markdown
from planner.report.text import plan_text
from planner.units import GiB, MiB
from tests.hostile import HOSTILE, hostile_plan
from tests.plans import street_corner
from tests.unit.planner.explanation.test_culprits import planned as apart_planned

GOLDEN = Path(__file__).parents[3] / "golden" / "street.misfit.txt"
DEVICES = (DeviceModel("box", ("a box",), 8 * GiB, 7 * GiB, GiB, "made up"),)


def misfit() -> tuple[Plan, Explanation]:
    """Cameras that track beside detecting, two frames at once, and a microphone, in too little."""
    names = ("detector", "reader", "tracker", "sound")
    models = tuple(ModelSpec(ModelId(name), file=f"{name}.om") for name in names)
    detector, reader, tracker, sound = (model.id for model in models)
    camera = PipelineSpec(
        "camera",
        (
            StepSpec("detect", detector, "vision", time_ns=12_000_000),
            StepSpec("read", reader, "vision", ("detect",), time_ns=4_000_000),
            StepSpec("track", tracker, "tracking-{channel}", ("detect",), time_ns=5_000_000),
        ),
        channels=3,
        frames_in_flight=2,
    )
    listening = PipelineSpec("microphone", (StepSpec("listen", sound, "audio", time_ns=2_000),))
    sizes = {
        model: ModelSize(work * MiB - 32, weights * MiB - 32, name * 64, weights_digest * 64)
        for model, work, weights, name, weights_digest in (
            (detector, 24, 9, "1", "a"),
            (reader, 6, 12, "2", "b"),
            (tracker, 11, 12, "3", "b"),
            (sound, 3, 4, "4", "c"),
        )
    }
    device = DeviceSpec(90 * MiB, (("system", 8 * MiB),))
    plan = plan_fleet(FleetSpec("street", models, (camera, listening), device), sizes)
    explanation = explain_misfit(plan, DEVICES)
    assert explanation is not None
    return plan, explanation


def test_the_text_is_the_golden_one() -> None:
    plan, explanation = misfit()
    text = plan_text(plan, explanation)
    if os.environ.get("REPORTS_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
    assert max(map(len, text.splitlines())) <= 80


def test_every_report_has_it_and_keeps_the_schema() -> None:
    plan, explanation = misfit()
    capacity = capacity_of(plan, DEVICES)
    figures = capacity_figures(capacity, (), explanation)
    jsonschema.validate({**figures, "warnings": []}, report_schema())
    found = figures["explanation"]
    assert len(found["ways_out"]) >= 3
    assert {row["device"] for row in found["ways_out"] if row["fits"]} >= {"box"}
    page = capacity_html(capacity, what_if(plan), (), explanation)
    for shown in (
        capacity_text(capacity, (), explanation),
        capacity_markdown(capacity, (), explanation),
        page,
    ):
        assert "hy it does not fit" in shown
        assert "everything in turn" in shown
    data = page.partition('id="figures">')[2].partition("</script>")[0]
    assert json.loads(data)["explanation"] == json.loads(json.dumps(found))
    assert explanation_figures(None, plan) is None
    assert "hy it does not fit" not in capacity_html(capacity, what_if(plan))


def test_hostile_names_stay_names() -> None:
    plan = hostile_plan(limit=1)
    explanation = explain_misfit(plan, DEVICES)
    assert explanation is not None
    many = tuple(row.id for row in plan.instances) * 2
    explanation = replace(explanation, culprits=replace(explanation.culprits, instances=many))
    lines = explanation_text(explanation, plan)
    assert max(map(columns, lines)) <= 80
    assert f"  ... and {len(many) - CULPRITS_MAX} more (--json has all)" in lines
    capacity = capacity_of(plan)
    markdown = capacity_markdown(capacity, (), explanation)
    assert "<script>" not in markdown
    assert f"{len(many) - CULPRITS_MAX} more" in markdown
    body, _, _ = capacity_html(capacity, (), (), explanation).partition('id="figures">')
    assert HOSTILE[0] not in body


def culprits(**other: object) -> Culprits:
    two = InstanceId("a@x"), InstanceId("b@y")
    plain = Culprits(two, 3 * MiB, 3 * MiB, 2, is_proven=True, is_minimal=True, solved=0)
    return replace(plain, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            culprits(),
            "3.00 MiB of 1.00 MiB, proven for this order; without any one of them the others of "
            "them fit.",
        ),
        (culprits(is_proven=False), "of 1.00 MiB, as far as was searched; without"),
        (culprits(is_minimal=False), "fewer of them may be enough, the search ended before."),
        (culprits(instances=("a@x",)), "even alone: it needs 3.00 MiB of 1.00 MiB, proven."),
        (culprits(instances=()), "The reserves alone are above the limit: 3.00 MiB of 1.00 MiB."),
        (culprits(stream_count=9), "they need 9 streams of 8 streams; without"),
    ],
)
def test_words_of_culprits(found: Culprits, words: str) -> None:
    plan = street_corner()
    device = DeviceSpec(MiB, streams_max=8)
    plan = replace(plan, fleet=replace(plan.fleet, device=device))
    assert plan.price is not None, "planning chose its order"
    anyway = words.replace("for this order", "whatever is added")
    assert anyway in culprits_words(found, plan)
    assert words in culprits_words(found, replace(plan, price=None))


@pytest.mark.parametrize(
    ("found", "fit_bytes", "words"),
    [
        (culprits(instances=("a@x",)), None, "3.00 MiB (2.00 MiB of it the fleet's reserves) of 1"),
        (culprits(), None, "they need 3.00 MiB (2.00 MiB of it the fleet's reserves) of 1.00 MiB"),
        (culprits(instances=()), None, "above the limit: 3.00 MiB of 1.00 MiB."),
        (culprits(), 1, "alone they need 3.00 MiB of 1 B"),  # reserves are no part of it
    ],
)
def test_words_of_culprits_tell_reserves(
    found: Culprits, fit_bytes: int | None, words: str
) -> None:
    plan = street_corner()
    device = DeviceSpec(MiB, (("system", MiB), ("other", MiB)))
    fleet = replace(plan.fleet, device=device, schedule=ScheduleSpec(fit_bytes))
    assert words in culprits_words(found, replace(plan, fleet=fleet))


def test_what_was_not_planned_is_said() -> None:
    plan, explanation = misfit()
    few = explain_misfit(plan, (), ExplanationOptions(ways=WaysOptions(plans_max=0)))
    assert few is not None
    words = f"{few.ways_out.left_out} further changes are not listed: not planned, or freeing less."
    assert words in explanation_text(few, plan)
    assert "not planned" in capacity_markdown(capacity_of(plan), (), few)
    one = replace(explanation, ways_out=replace(explanation.ways_out, left_out=1))
    words = "1 further change is not listed: not planned, or freeing less."
    assert explanation_text(one, plan)[-1] == words


def test_offset_problems_are_counted() -> None:
    """A ring of conflicts, whose height no clique shows: its culprits have to be solved for."""
    ring = [{k, (k + 1) % 5} for k in range(5)]
    pairs = tuple(pair for pair in combinations(range(5), 2) if {*pair} not in ring)
    plan = apart_planned(DeviceSpec(5 * 512), *[(1024, 0)] * 5, apart=pairs)
    whole = explain_misfit(plan)
    assert whole is not None
    assert whole.culprits.is_minimal
    none = explain_misfit(plan, (), ExplanationOptions(culprits_max=4))
    assert none is not None
    assert none.culprits.solved == 0
