"""Everything in turns: the sequence decides what waits in memory between the steps."""

from planner.fit import Fitter, fit_fleet
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.handover import Feed
from planner.model import ModelId
from tests.fleets import declared_sizes

SEE, READ, HEAR, SPEAK = map(ModelId, ("see", "read", "hear", "speak"))
KB = 1024

Tensors = tuple[tuple[str, int], ...]


def _model(model: ModelId, work: int, *, reads: Tensors = (), writes: Tensors = ()) -> ModelSpec:
    return ModelSpec(model, work_bytes=work, weight_bytes=0, input_bytes=reads, output_bytes=writes)


def two_chains() -> FleetSpec:
    """Each hands on 10 KiB; in the order of the steps both tensors would wait at once."""
    return FleetSpec(
        "two-chains",
        (
            _model(SEE, 20 * KB - 32, writes=(("boxes", 10 * KB - 32),)),
            _model(READ, 20 * KB - 32, reads=(("x", 10 * KB - 32),)),
            _model(HEAR, 35 * KB - 32, writes=(("words", 10 * KB - 32),)),
            _model(SPEAK, 35 * KB - 32, reads=(("y", 10 * KB - 32),)),
        ),
        (
            PipelineSpec(
                "robot",
                (
                    StepSpec("see", SEE, "a"),
                    StepSpec("hear", HEAR, "b"),
                    StepSpec("read", READ, "c", ("see",), feeds=(Feed("x", "see", "boxes"),)),
                    StepSpec("speak", SPEAK, "d", ("hear",), feeds=(Feed("y", "hear", "words"),)),
                ),
            ),
        ),
    )


def test_a_tensor_is_read_before_the_next_one_is_written() -> None:
    fleet = two_chains()
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=45 * KB)
    assert plan.fits
    assert plan.total_bytes == 45 * KB
    assert not fit_fleet(fleet, declared_sizes(fleet), budget_bytes=45 * KB - 1).fits


def test_what_others_wait_for_goes_before_what_writes_for_them() -> None:
    """`early` would write a tensor that waits while `late` runs, which its reader follows too."""
    early, late, reader = map(ModelId, ("early", "late", "reader"))
    fleet = FleetSpec(
        "join",
        (
            _model(early, 4 * KB - 32, writes=(("o", 2 * KB - 32),)),
            _model(late, 8 * KB - 32),
            _model(reader, 4 * KB - 32, reads=(("i", 2 * KB - 32),)),
        ),
        (
            PipelineSpec(
                "p",
                (
                    StepSpec("early", early, "a"),
                    StepSpec("late", late, "b"),
                    StepSpec(
                        "reader", reader, "c", ("early", "late"), feeds=(Feed("i", "early", "o"),)
                    ),
                ),
            ),
        ),
    )
    plan = Fitter(fleet, declared_sizes(fleet)).within(8 * KB)
    assert plan.fits
