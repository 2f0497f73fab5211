"""Laws of fleet files: what is written comes back; anything else is a SpecError with a place.

And the schema accepts whatever decoding accepts, so that an editor never underlines a good file.
"""

import copy
import json
from typing import Any

import jsonschema
import yaml
from hypothesis import given
from hypothesis import strategies as st

from planner.codec import fleet_to_mapping
from planner.errors import SpecError
from planner.fleet import FleetSpec
from planner.fleet_file import decode_fleet, fleet_schema, parse_fleet, parse_text
from tests.plans import street_corner
from tests.plans_io import HANDING_YAML
from tests.strategies import fleets

FLEETS = [street_corner().fleet, parse_fleet(HANDING_YAML + "device: {io: arena}\n")]
MAPPINGS = [fleet_to_mapping(fleet) for fleet in FLEETS]
SCHEMA = jsonschema.Draft202012Validator(fleet_schema())

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        ["detect", "detector", "11MiB", "1.5 kB", "12ms", "off", "{channel}", "a@b", "\ud800"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["x", "work", "file"]), inner)
    ),
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


def _decode(mapping: dict[str, Any]) -> FleetSpec | None:
    try:
        return decode_fleet(mapping)
    except SpecError as error:
        assert str(error).isprintable(), repr(str(error))  # noqa: PT017 - the law itself
        return None


@given(fleets())
def test_a_fleet_comes_back_from_its_mapping_as_yaml_and_as_json(fleet: FleetSpec) -> None:
    mapping = fleet_to_mapping(fleet)
    assert decode_fleet(mapping) == fleet
    assert parse_fleet(yaml.safe_dump(mapping, sort_keys=False)) == fleet
    assert parse_fleet(json.dumps(mapping, indent="\t")) == fleet
    SCHEMA.validate(mapping)


@given(st.data())
def test_a_changed_mapping_is_a_fleet_that_the_schema_accepts_or_a_spec_error(
    data: st.DataObject,
) -> None:
    mapping = copy.deepcopy(data.draw(st.sampled_from(MAPPINGS)))
    for _ in range(data.draw(st.integers(1, 3))):
        places = _places(mapping)
        container, key = places[data.draw(st.integers(0, len(places) - 1))]
        if isinstance(container, dict) and data.draw(st.booleans()):
            container[data.draw(st.text(max_size=3))] = container.pop(key)
        else:
            container[key] = data.draw(values)
    if _decode(mapping) is not None:
        SCHEMA.validate(mapping)


@given(values)
def test_any_value_is_a_fleet_or_a_spec_error(value: Any) -> None:
    for key in ("models", "pipelines", "device", "name", "version", "other"):
        _decode({**copy.deepcopy(MAPPINGS[0]), key: value})


@given(
    st.text(max_size=80) | st.text("{}[]:,-&*a1 \n#'\"|>!?<", max_size=80) | st.binary(max_size=80)
)
def test_any_text_is_a_value_or_a_spec_error(text: str | bytes) -> None:
    try:
        parse_text(text)
    except SpecError as error:
        assert str(error).isprintable(), repr(str(error))  # noqa: PT017 - the law itself


@given(st.text("{}[]:,- a1\n#'\"", max_size=40))
def test_what_pyyaml_reads_alike_is_read_alike(text: str) -> None:
    """Where both accept a text without the spellings that version 1.2 changed, they agree."""
    try:
        ours = parse_text(text)
        theirs = yaml.safe_load(text)
    except (SpecError, yaml.YAMLError, ValueError, TypeError):
        return
    assert ours == _with_text_keys(theirs)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _with_text_keys(member) for key, member in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _key(key: Any) -> str:
    return "" if key is None else str(key)
