import pytest

from planner.errors import ArenaError, DecodeError, PlanError, SpecError, UsageError


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
    assert kind("found 3").path == ""
