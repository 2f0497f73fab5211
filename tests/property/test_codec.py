"""Laws of the plan codec: there and back is the same, and nothing else gets in.

Any other value anywhere in a file is a DecodeError: what makes a plan is under its digest, and what
follows from it is compared.
"""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.codec import decode_plan, encode_plan, examine_plan, plan_to_mapping
from planner.errors import DecodeError
from planner.fleet import IoPlace
from planner.fleet_file import decode_fleet
from planner.plan import Plan
from tests.plans import plans, street_corner
from tests.plans_io import handing_plan

MAPPINGS = [plan_to_mapping(street_corner()), plan_to_mapping(handing_plan(IoPlace.ARENA))]
DATA = encode_plan(street_corner())

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1 << 63)
    | st.floats()
    | st.text(st.characters(), max_size=4)
    | st.sampled_from(["detector", "vision", "npu-arena plan", "order", "a" * 64, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a nested value."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


@given(plans())
def test_there_and_back_is_the_same_plan_and_the_same_bytes(plan: Plan) -> None:
    data = encode_plan(plan)
    assert decode_plan(data) == plan
    assert encode_plan(decode_plan(data)) == data
    assert decode_plan(json.loads(data)) == plan


@given(plans())
def test_the_fleet_in_a_plan_is_a_fleet_file(plan: Plan) -> None:
    assert decode_fleet(plan_to_mapping(plan)["fleet"]) == plan.fleet


@given(st.data())
def test_any_other_value_in_any_place_is_refused(data: st.DataObject) -> None:
    mapping = copy.deepcopy(data.draw(st.sampled_from(MAPPINGS)))
    places = _places(mapping)
    container, key = places[data.draw(st.integers(0, len(places) - 1))]
    before, after = container[key], data.draw(values)
    if type(before) is type(after) and before == after:
        return
    container[key] = after
    with pytest.raises(DecodeError) as caught:
        decode_plan(mapping)
    assert str(caught.value).isprintable()


@given(st.data())
def test_members_taken_away_or_added_are_refused(data: st.DataObject) -> None:
    mapping = copy.deepcopy(data.draw(st.sampled_from(MAPPINGS)))
    places = _places(mapping)
    container, key = places[data.draw(st.integers(0, len(places) - 1))]
    if isinstance(container, list):
        container.append(data.draw(values))
    elif data.draw(st.booleans()):
        del container[key]
    else:
        container[f"{key}+"] = data.draw(values)
    with pytest.raises(DecodeError):
        decode_plan(mapping)


@given(values)
def test_any_json_value_is_a_plan_or_a_decode_error(value: Any) -> None:
    claim = {"format": "npu-arena plan", "version": 1, "instances": value, "fleet": value}
    for data in (value, claim):
        with pytest.raises(DecodeError) as caught:
            examine_plan(data)
        assert str(caught.value).isprintable()


@given(st.binary(max_size=64), st.integers(0, len(DATA)), st.integers(0, 64))
def test_any_bytes_are_the_plan_or_a_decode_error(cut: bytes, start: int, length: int) -> None:
    plan = street_corner()
    for data in (cut, DATA[:start], DATA[:start] + cut + DATA[start + length :]):
        try:
            decoded = decode_plan(data)
        except DecodeError:
            continue
        assert decoded == plan
