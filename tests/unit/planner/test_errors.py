import pytest

from planner.errors import (
    ArenaError,
    DecodeError,
    PlanError,
    SpecError,
    UsageError,
    did_you_mean,
)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (ArenaError, "this software"),
        (SpecError, "the fleet specification"),
        (DecodeError, "the file"),
        (PlanError, "the plan"),
        (UsageError, "the caller"),
    ],
)
def test_every_error_says_who_is_at_fault(kind: type[ArenaError], fault: str) -> None:
    error = kind("something is wrong")
    assert isinstance(error, ArenaError)
    assert error.fault == fault
    assert str(error) == "something is wrong"


@pytest.mark.parametrize("kind", [SpecError, DecodeError])
def test_a_place_stands_before_the_message(kind: type[SpecError] | type[DecodeError]) -> None:
    error = kind("found 3, expected 4", "steps.read.after[0]")
    assert str(error) == "steps.read.after[0]: found 3, expected 4"
    assert error.path == "steps.read.after[0]"
    assert error.message == "found 3, expected 4"
    assert kind("found 3").path == ""


def test_a_fleet_file_stands_before_the_place() -> None:
    error = SpecError("unknown key", "pipelnes", file="fleet\n.yaml")
    assert str(error) == "fleet\\n.yaml: pipelnes: unknown key"
    assert (error.path, error.message) == ("pipelnes", "unknown key")


@pytest.mark.parametrize("kind", [SpecError, DecodeError])
def test_a_place_with_hostile_names_stays_one_line(
    kind: type[SpecError] | type[DecodeError],
) -> None:
    assert kind("is wrong", "models.a\nb\ud800街").path == "models.a\\nb\\ud800街"


def test_the_nearest_name_is_offered() -> None:
    assert did_you_mean("detectr", ["reader", "detector"]) == "; did you mean 'detector'?"
    assert did_you_mean("x", ["reader"]) == ""
    assert did_you_mean("a", []) == ""


def test_hostile_names_cost_no_comparing() -> None:
    long = "a" * 1_000_000
    assert did_you_mean(long, [long[:-1]]) == ""
    near = did_you_mean("name-1", [f"name-{k}" for k in range(100_000)])
    assert near == "; did you mean 'name-1'?"
