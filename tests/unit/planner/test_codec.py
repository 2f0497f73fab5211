"""Plan files: what they hold, that they come back, and that nothing in them can be wrong unseen."""

import copy
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from planner.codec import (
    PLAN_FORMAT,
    PLAN_VERSION,
    claims_plan,
    decode_plan,
    encode_plan,
    examine_plan,
    fleet_digest,
    fleet_to_mapping,
    plan_digest,
    plan_to_mapping,
)
from planner.codec.canonical import BYTES_OF_FILE_MAX
from planner.codec.decode import CONTRADICTIONS_MAX
from planner.codec.place import TEXT_MAX
from planner.errors import DecodeError, PlanError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.plan import Instance, Plan
from planner.units import BYTES_MAX
from tests.plans import stacked_plan, street_corner
from tests.plans_io import handing_plan

PLAN = street_corner()
MAPPING = plan_to_mapping(PLAN)
ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "street-corner.plan.json"
Mapping = dict[str, Any]


def test_a_plan_comes_back_from_its_file() -> None:
    data = encode_plan(PLAN)
    assert decode_plan(data) == PLAN
    assert encode_plan(decode_plan(data)) == data
    assert decode_plan(json.loads(data)) == PLAN


def test_the_file_is_the_golden_one() -> None:
    assert encode_plan(PLAN) == GOLDEN.read_bytes()


def test_layout_and_order_of_members_mean_nothing() -> None:
    shuffled = json.dumps(dict(reversed(MAPPING.items())), indent=4).encode()
    assert decode_plan(shuffled) == PLAN


def test_the_digest_is_of_everything_else() -> None:
    rest = {key: value for key, value in MAPPING.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert MAPPING["digest"] == plan_digest(PLAN) == hashlib.sha256(text.encode()).hexdigest()
    assert MAPPING["fleet_digest"] == fleet_digest(PLAN.fleet)
    assert fleet_to_mapping(PLAN.fleet) == MAPPING["fleet"]


def test_every_field_of_sizes_and_instances_is_written() -> None:
    """A new field that the codec forgets would come back as its default."""
    derived = {"file", "work_reserved_bytes", "weight_reserved_bytes"}
    assert len(set(MAPPING["models"][0]) - derived) == len(fields(ModelSize)) + 1
    assert len(set(MAPPING["instances"][0]) - derived) == len(fields(Instance))
    handed = {"buffers", "witness_buffers"}  # only where steps hand something on
    assert {field.name for field in fields(Plan)} - {"sizes"} - handed <= set(MAPPING)
    assert handed <= set(plan_to_mapping(handing_plan()))


@pytest.mark.parametrize("source", ["detect", "detect.", ".boxes"])
def test_a_feed_without_step_or_output_is_refused(source: str) -> None:
    mapping = plan_to_mapping(handing_plan())
    mapping["fleet"]["pipelines"]["camera"]["steps"]["read"]["feeds"]["x"] = source
    with pytest.raises(DecodeError, match=r"read\.feeds\.x: "):
        decode_plan(mapping)


def test_steps_are_resolved_with_what_was_added() -> None:
    steps = {row["step"]: row for row in MAPPING["steps"]}
    track = steps["camera[1].track"]
    assert track["instance"] == "tracker@tracking"
    assert track["locks"] == ["tracking", "heavy"]
    assert track["after"] == ["camera[1].detect", "camera[1].read"]  # the second was added
    exclusive = "copy@audio|detector@bell"
    assert exclusive in steps["microphone[0].hear"]["locks"]
    assert exclusive in steps["door[0].ring"]["locks"]
    assert steps["microphone[0].hear"]["frames_in_flight"] == 2


def test_figures_are_written_for_readers_that_do_not_plan() -> None:
    assert MAPPING["total_bytes"] == PLAN.height_bytes + PLAN.weight_bytes
    assert MAPPING["reservations"]["work"] == {"bytes": 366_080, "planned_bytes": 2 << 20}
    assert MAPPING["limit_bytes"] == 1 << 30
    wild = MAPPING["instances"][4]
    assert (wild["weight_offset"], wild["weight_reserved_bytes"]) == (None, 0)


def test_names_in_any_script_are_written_as_they_are() -> None:
    fleet = replace(PLAN.fleet, name="街角")
    data = encode_plan(replace(PLAN, fleet=fleet))
    assert "街角".encode() in data
    assert decode_plan(data).fleet.name == "街角"


def test_half_a_surrogate_pair_cannot_be_written() -> None:
    sizes = ((PLAN.sizes[0][0], replace(PLAN.sizes[0][1], gears="batch \ud800")), *PLAN.sizes[1:])
    with pytest.raises(PlanError, match="cannot be written as UTF-8"):
        encode_plan(replace(PLAN, sizes=sizes))


def _set(*path: str | int, to: Any) -> Callable[[Mapping], None]:
    def change(mapping: Mapping) -> None:
        *way, last = path
        part: Any = mapping
        for key in way:
            part = part[key]
        part[last] = to

    return change


def _drop(*path: str | int) -> Callable[[Mapping], None]:
    def change(mapping: Mapping) -> None:
        *way, last = path
        part: Any = mapping
        for key in way:
            part = part[key]
        del part[last]

    return change


def _rename(*path: str, to: str) -> Callable[[Mapping], None]:
    def change(mapping: Mapping) -> None:
        *way, last = path
        part: Any = mapping
        for key in way:
            part = part[key]
        part[to] = part.pop(last)

    return change


STEPS = ("fleet", "pipelines", "camera", "steps")
REFUSED: list[tuple[Callable[[Mapping], None], str, str]] = [
    # The head
    (_set("format", to="npu-arena fleet"), "format", "expected 'npu-arena plan': this is no plan"),
    (_drop("format"), "format", "found NoneType None"),
    (_set("version", to=2), "version", "found int 2, expected 1: another release"),
    (_set("version", to=True), "version", "found bool True, expected a whole number"),
    (_set("version", to="1"), "version", "found str '1', expected a whole number from 0 to 2^62"),
    (_drop("version"), "version", "expected a whole number"),
    (_set("digest", to="0" * 64), "digest", "the plan was altered"),
    (_drop("digest"), "digest", "is missing"),
    (_set("fleet_digest", to="0" * 64), "fleet_digest", "as the rest of the plan has it"),
    (_set("comment", to=""), "comment", "unknown key"),
    # Values of every type
    (_set("height_bytes", to=1.5), "height_bytes", "found float 1.5, expected a whole number"),
    (_set("height_bytes", to=-1), "height_bytes", "found int -1, expected a whole number from 0"),
    (_set("height_bytes", to=BYTES_MAX + 1), "height_bytes", "found int 4611686018427387905"),
    (_set("height_bytes", to=10**5000), "height_bytes", "found int an integer of 16610 bits"),
    (_set("status", to="best"), "status", "expected one of optimal, feasible"),
    (_set("status", to="optimum"), "status", "did you mean 'optimal'?"),
    (_set("status", to=None), "status", "found NoneType None, expected text"),
    (_set("witness", to={}), "witness", "found an object of 0, expected a list"),
    (_set("witness", to=[1]), "witness[0]", "found int 1, expected text"),
    (_set("witness", to=["x" * (TEXT_MAX + 1)]), "witness[0]", f"expected at most {TEXT_MAX}"),
    (_set("witness", to=["\udfff"]), "witness[0]", "expected text that UTF-8 can write"),
    (_set("rule", to=[]), "rule", "found a list of 0, expected an object"),
    (_set("rule", "align_bytes", to=0), "rule.align_bytes", "expected a whole number from 1"),
    (_set("rule", "slack", to=0), "rule.slack", "unknown key, expected one of align_bytes"),
    (_drop("rule", "tail_bytes"), "rule.tail_bytes", "is missing"),
    (_set("page_bytes", to=0), "page_bytes", "expected a whole number from 1"),
    # Instances
    (_set("instances", 0, to=None), "instances[0]", "expected an object"),
    (_drop("instances", 0, "lane"), "instances[0].lane", "is missing"),
    (_set("instances", 1, "model", to="readr"), "instances[1].model", "did you mean 'reader'?"),
    (_set("instances", 1, "work_offset", to="0"), "instances[1].work_offset", "found str '0'"),
    (_set("instances", 1, "work_offset", to=512), "digest", "the plan was altered"),
    (
        _set("instances", 1, "work_reserved_bytes", to=512),
        "instances[1].work_reserved_bytes",
        "found int 512, expected int 70144: as the rest of the plan has it",
    ),
    (_set("instances", 0, "device", to=100_001), "instances[0].device", "from 0 to 100000"),
    (_drop("instances", 0, "work_reserved_bytes"), "instances[0].work_reserved_bytes", "missing"),
    # Steps follow from the fleet
    (_drop("steps", 0), "steps", "found a list of 9, expected a list of 10"),
    (_set("steps", 0, "locks", to=[]), "steps[0].locks", "found a list of 0, expected a list of 1"),
    (_set("steps", 2, "after", to=["camera[0].detect"]), "steps[2].after", "expected a list of 2"),
    (_set("steps", 0, "locks", 0, to="audio"), "steps[0].locks[0]", "expected str 'vision'"),
    # Added
    (_set("added", 0, "kind", to="before"), "added[0].kind", "expected one of order, exclusive"),
    (_set("added", 0, "first", to="ghost@x"), "digest", "the plan was altered"),
    # Models
    (_set("models", 0, "file_digest", to="A" * 64), "models[0].file_digest", "lower-case"),
    (_set("models", 0, "file_digest", to="a"), "models[0].file_digest", "64 lower-case"),
    (_set("models", 0, "system_managed", to=0), "models[0].system_managed", "true or false"),
    (_set("models", 2, "inputs", 0, "shape", to=[-2]), "models[2].inputs[0].shape[0]", "from -1"),
    (_set("models", 1, "model", to="detector"), "instances[3].model", "expected one of the rows"),
    (_set("models", 0, "extra", to=1), "models[0].extra", "unknown key"),
    (_set("models", 0, "file", to="other.om"), "models[0].file", "expected str 'models/det.om'"),
    # The fleet, by the same rules as a fleet file
    (_set("fleet", "version", to=2), "fleet.version", "expected a whole number from 1 to 1"),
    (_set("fleet", "models", "spare", "work", to="1B"), "fleet.models.spare.work", "found str"),
    (_set("fleet", "models", "spare", "file", to="x"), "fleet.models.spare", "found both"),
    (
        _set("fleet", "models", "reader", "inputs", "x", to=[0]),
        "fleet.models.reader.inputs.x[0]",
        "expected a whole number from 1",
    ),
    (_set(*STEPS, "read", "after", to=["track", "detect"]), "digest", "altered"),
    (
        _set(*STEPS, "detect", "after", to=["read"]),
        "fleet.pipelines.camera.steps",
        "`after` has a cycle",
    ),
    (
        _set(*STEPS, "read", "after", to=["detct"]),
        "fleet.pipelines.camera.steps.read.after[0]",
        "unknown step 'detct', expected one of 'detect', 'read', 'track'; did you mean 'detect'?",
    ),
    (
        _set(*STEPS, "read", "lane", to="a@b"),
        "fleet.pipelines.camera.steps.read.lane",
        "'@', which addresses parts",
    ),
    (
        _set("fleet", "pipelines", "camera", "rate", to="25"),
        "fleet.pipelines.camera.rate",
        "found '25', expected a rate such as 25fps or 12.5fps",
    ),
    (_set("fleet", "pipelines", "camera", "rate", to=25), "fleet.pipelines.camera.rate", "text"),
    (_set("fleet", "pipelines", "camera", "rate", to="25fps"), "digest", "the plan was altered"),
    (
        _set("fleet", "pipelines", "camera", "channels", to=100_001),
        "fleet.pipelines.camera.channels",
        "from 1 to 100000",
    ),
    (
        _set("fleet", "pipelines", "camera", "channels", to=100_000),
        "steps",
        "expected a list of 300004: one row for each step of each channel",
    ),
    (_set("fleet", "device", "dedupe", to="of"), "fleet.device.dedupe", "did you mean 'off'?"),
    (_set("fleet", "device", "streams", to=1 << 40), "fleet.device.streams", "0 to 100000"),
    (_set("fleet", "device", "reserve", to=[]), "fleet.device.reserve", "expected an object"),
    (_set("fleet", "device", "reserve", 7, to=1), "fleet.device.reserve", "found int 7"),
    (_rename("fleet", "name", to="nam"), "fleet.nam", "did you mean 'name'?"),
]


@pytest.mark.parametrize(("change", "path", "part"), REFUSED)
def test_damage_is_refused_at_its_place(
    change: Callable[[Mapping], None], path: str, part: str
) -> None:
    mapping = copy.deepcopy(MAPPING)
    change(mapping)
    with pytest.raises(DecodeError) as caught:
        decode_plan(mapping)
    assert (caught.value.path, part in caught.value.message) == (path, True), str(caught.value)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "line 1, column 1: Expecting value"),
        (b"{", "line 1, column 2"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"format": NaN}', "found NaN, which is no JSON"),
        (b"[]", "found a list of 0, expected an object: this is no plan"),
        (b"null", "found NoneType None, expected an object"),
        (b"7", "found int 7, expected an object"),
        (b'{"format": "npu-arena plan", "version": 1e9}', "found float 1000000000.0"),
        (b'{"format": "npu-arena plan", "version": ' + b"9" * 5_000 + b"}", "found float inf"),
        (
            b'{"format": "npu-arena plan", "version": 1, "a": {"b": 1, "b": 2}}',
            "'b' is given twice",
        ),
        (b" " * (BYTES_OF_FILE_MAX + 1), "expected at most 268435456"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_what_is_no_plan_is_refused(data: bytes, part: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_plan(data)
    assert part in str(caught.value)


def test_what_claims_to_be_a_plan_is_told_from_what_does_not() -> None:
    assert claims_plan(encode_plan(PLAN))
    assert claims_plan(b'{"format": "npu-arena plan", "version": 99}')
    assert not claims_plan(b'{"format": "npu-arena fleet"}')
    assert not claims_plan(b"[]")
    assert not claims_plan(b"\x00")


def test_all_contradictions_are_listed_with_the_plan() -> None:
    mapping = copy.deepcopy(MAPPING)
    mapping["total_bytes"] += 1
    mapping["fits"] = 1  # equal to true, but no truth value
    mapping["steps"][0]["locks"] = []
    plan, contradictions = examine_plan(mapping)
    assert plan == PLAN
    assert [error.path for error in contradictions] == ["fits", "total_bytes", "steps[0].locks"]
    mapping["steps"] = [dict.fromkeys(map(str, range(99)), 0)] * 10
    assert len(examine_plan(mapping)[1]) == CONTRADICTIONS_MAX


def test_one_damaged_byte_is_noticed_wherever_it_is() -> None:
    step = StepSpec("s", ModelId("m"), "lane")
    model = ModelSpec(ModelId("m"), work_bytes=1, weight_bytes=1)
    data = encode_plan(stacked_plan(FleetSpec("f", (model,), (PipelineSpec("p", (step,)),))))
    for index in range(len(data)):
        damaged = bytearray(data)
        damaged[index] ^= 1 << index % 8  # one bit never turns a blank into another blank
        with pytest.raises(DecodeError):
            decode_plan(bytes(damaged))


def _keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set(value).union(*map(_keys, value.values())) if isinstance(value, dict) else set()


def test_every_field_is_documented() -> None:
    page = (ROOT / "docs" / "plan-format.md").read_text()
    documented = set(re.findall(r"`(?:rule\.|reservations\.)?(\w+)`", page))
    written = set(MAPPING) | _keys({key: MAPPING[key] for key in MAPPING if key != "fleet"})
    assert written <= documented


def test_head_of_the_format() -> None:
    assert (MAPPING["format"], MAPPING["version"]) == (PLAN_FORMAT, PLAN_VERSION)
