"""Measured times of a fleet: how long each model executes, and what lanes cost one another.

`arena time` measures them and writes them to a file beside the fleet; planning reads them. A lane's
**slowdown** beside another is how many times longer its executions take while the other lane is
busy too. Lanes that serve the same models are alike: one of them is measured for all.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from planner.errors import DecodeError, SpecError
from planner.fleet import FleetSpec, PipelineSpec
from planner.model import ModelId, ModelSize
from planner.units import format_count

__all__ = [
    "ALONE_PERMILLE",
    "Beside",
    "LaneGroup",
    "ModelTime",
    "Times",
    "encode_times",
    "lane_groups",
    "parse_times",
    "with_times",
]

TIMES_FORMAT: Final = "npu-arena times"
TIMES_VERSION: Final = 1
ALONE_PERMILLE: Final = 1000
"""The slowdown of a lane that nothing disturbs."""
_SURELY_PERMILLE: Final = 900
_PERHAPS_PERMILLE: Final = 950
"""No lane is faster beside another one. Below the first a median says so by noise alone; from the
second on it is not worth a word; between them the spread of the times alone decides."""


@dataclass(frozen=True, slots=True)
class ModelTime:
    """How long one execution of a model takes alone, nanoseconds.

    Attributes
    ----------
    model : ModelId
    file_digest : str
        SHA-256 of the file that was measured; empty for a declared model.
    median_ns, low_ns, high_ns : int
        Of all repeats; a tenth of them took less than `low_ns`, a tenth more than `high_ns`.
    """

    model: ModelId
    file_digest: str
    median_ns: int
    low_ns: int
    high_ns: int


@dataclass(frozen=True, slots=True)
class LaneGroup:
    """Lanes that serve the same models; the first was measured for all of them."""

    lanes: tuple[str, ...]
    models: tuple[ModelId, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """What a lane's executions take beside another busy lane, in thousandths of their time alone.

    Attributes
    ----------
    lane, other : str
        First lanes of their groups, or the first and the second lane of one group.
    slowdown_permille : int
        1000: nothing; 2000: twice as long.
    """

    lane: str
    other: str
    slowdown_permille: int


@dataclass(frozen=True, slots=True)
class Times:
    """What was measured of one fleet on one device.

    Attributes
    ----------
    fleet, device : str
    repeats : int
        Executions of each model that the figures stand for.
    models : tuple of ModelTime
    groups : tuple of LaneGroup
    beside : tuple of Beside
        Pairs of lanes that were measured; a pair that does not fit the device is missing.
    """

    fleet: str
    device: str
    repeats: int
    models: tuple[ModelTime, ...]
    groups: tuple[LaneGroup, ...]
    beside: tuple[Beside, ...]

    def of_steps(
        self, fleet: FleetSpec, sizes: Mapping[ModelId, ModelSize]
    ) -> dict[tuple[str, str], int]:
        """Return the time of every (pipeline, step) whose model was measured, nanoseconds.

        Raises
        ------
        SpecError
            A model's file is not the one that was measured.
        """
        known = {time.model: time for time in self.models}
        for model, size in sizes.items():
            if model in known and known[model].file_digest != size.file_digest:
                raise SpecError(
                    f"its file has digest {size.file_digest[:16] or 'none'}..., the times were "
                    f"measured of {known[model].file_digest[:16] or 'none'}...: measure again",
                    f"models.{model}",
                )
        return {
            (pipeline.id, step.id): known[step.model].median_ns
            for pipeline in fleet.pipelines
            for step in pipeline.steps
            if step.model in known
        }

    def noisy(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs of lanes of which one was faster beside the other than alone, by noise.

        That is: by more than the spread of its times alone.
        """
        known = {time.model: time for time in self.models}
        lowest = {}
        for group in self.groups:
            times = [known[model] for model in group.models if model in known]
            median = sum(time.median_ns for time in times)
            low = sum(time.low_ns for time in times)
            permille = ALONE_PERMILLE * low // median if median else 0
            for lane in group.lanes[:2]:
                lowest[lane] = min(_PERHAPS_PERMILLE, max(_SURELY_PERMILLE, permille))
        found: dict[tuple[str, str], None] = {}
        for row in self.beside:
            if row.slowdown_permille < lowest.get(row.lane, _SURELY_PERMILLE):
                pair = (row.lane, row.other)
                found[pair if pair[::-1] not in found else pair[::-1]] = None
        return tuple(found)

    def noise_words(self) -> tuple[str, ...]:
        """Return a warning where times were measured beside noise; nothing where they were not."""
        noisy = self.noisy()
        if not noisy:
            return ()
        (lane, other), *others = noisy
        more = f" (and {format_count(len(others), 'more pair')})" if others else ""
        return (
            f"noise: lanes {lane!r} and {other!r} were measured faster beside each other than "
            f"alone, by more than the measurement spreads{more}: measure again on a quiet device",
        )

    def slowdowns(self) -> dict[tuple[str, str], int]:
        """Return (lane, other lane) -> slowdown in thousandths, for all pairs that are known."""
        group_of = {lane: group for group in self.groups for lane in group.lanes}
        measured = {(row.lane, row.other): row.slowdown_permille for row in self.beside}
        found = {}
        for lane, group in group_of.items():
            for other, other_group in group_of.items():
                if lane == other:
                    continue
                pair = (group.lanes[0], other_group.lanes[0])
                if group is other_group:
                    pair = group.lanes[0], group.lanes[1]
                if pair in measured:
                    found[lane, other] = measured[pair]
        return found


def with_times(fleet: FleetSpec, times: Mapping[tuple[str, str], int]) -> FleetSpec:
    """Return a fleet with times of its steps, nanoseconds; a step that is not in `times` keeps its.

    Parameters
    ----------
    fleet : FleetSpec
    times : mapping of (pipeline, step) to int
    """

    def timed(pipeline: PipelineSpec) -> PipelineSpec:
        steps = (
            replace(step, time_ns=times.get((pipeline.id, step.id), step.time_ns))
            for step in pipeline.steps
        )
        return replace(pipeline, steps=tuple(steps))

    return replace(fleet, pipelines=tuple(timed(pipeline) for pipeline in fleet.pipelines))


def lane_groups(fleet: FleetSpec) -> tuple[LaneGroup, ...]:
    """Return the lanes of a fleet, grouped by the models that they serve, in order of first use.

    Examples
    --------
    >>> from planner.fleet import ModelSpec, PipelineSpec, StepSpec
    >>> m = ModelId("m")
    >>> models = (ModelSpec(m, work_bytes=1, weight_bytes=0),)
    >>> steps = (StepSpec("s", m, "lane-{channel}"),)
    >>> lane_groups(FleetSpec("f", models, (PipelineSpec("p", steps, channels=2),)))
    (LaneGroup(lanes=('lane-0', 'lane-1'), models=('m',)),)
    """
    served: dict[str, set[ModelId]] = {}
    for model, lane in fleet.instances().values():
        served.setdefault(lane, set()).add(model)
    groups: dict[frozenset[ModelId], list[str]] = {}
    for lane, models in served.items():
        groups.setdefault(frozenset(models), []).append(lane)
    order = [model.id for model in fleet.models]
    return tuple(
        LaneGroup(tuple(lanes), tuple(model for model in order if model in models))
        for models, lanes in groups.items()
    )


def encode_times(times: Times) -> bytes:
    """Return the content of a times file: JSON, integers and text alone."""
    mapping = {"format": TIMES_FORMAT, "version": TIMES_VERSION, **asdict(times)}
    return (json.dumps(mapping, indent=1, ensure_ascii=False) + "\n").encode()


def parse_times(data: bytes) -> Times:
    """Return the times that the content of a times file describes.

    Raises
    ------
    DecodeError
        It is no times file, of another version, or holds other values than it should.
    """
    import msgspec

    try:
        mapping: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"is no times file: {error}") from None
    if not isinstance(mapping, dict) or mapping.pop("format", None) != TIMES_FORMAT:
        raise DecodeError("is no times file; `arena time FLEET -o FILE` writes one")
    if (version := mapping.pop("version", None)) != TIMES_VERSION:
        raise DecodeError(f"found version {version!r}, expected {TIMES_VERSION}", "version")
    try:
        times = msgspec.convert(mapping, Times)
    except msgspec.ValidationError as error:
        raise DecodeError(f"is no times file: {error}") from None
    if json.loads(json.dumps(asdict(times))) != mapping:
        raise DecodeError("holds keys that a times file does not have; measure again")
    for row in times.models:
        if not 0 <= row.low_ns <= row.median_ns <= row.high_ns:
            raise DecodeError(
                f"times of {row.model!r} are not 0 <= low <= median <= high", "models"
            )
    for pair in times.beside:
        if pair.slowdown_permille <= 0:
            raise DecodeError(f"found {pair.slowdown_permille}, expected a slowdown > 0", "beside")
    return times
