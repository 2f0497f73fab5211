"""Proof by execution that sharing changes no bit: what `arena verify` does.

    alone      each instance, before anything else ran: the reference, per input
    poisoned   again after its work memory was filled with 0x00, 0xFF and a random pattern
    after      again directly after each instance whose work memory it shares
    beside     again while each instance that the plan keeps apart from it executes on another lane
    kept       what steps hand on, with all other memory overwritten between steps (`kept`)
    control    a plan that overlaps on purpose must be noticed (`negative_control`)

Every comparison is bit for bit. The first three show that no model expects to find anything in its
work memory; the fourth that regions which look apart are apart, scratch and all; the fifth that
what must outlast an execution does.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

from arena.device.base import Device, DeviceRange, Launch, ModelDescription
from arena.fleet import Fleet
from arena.gears import gear_choices, largest_gear
from arena.kept import Note, kept_stages
from arena.loader import LoadedInstance
from arena.negative_control import control_detected
from arena.plan_files import OpenedPlan
from arena.references import Outputs, execute_once, left_none_running, seeded_inputs
from arena.session import default_device, load_opened
from planner.errors import UsageError
from planner.model import InstanceId, ModelId, TensorSpec
from planner.units import align_up

__all__ = ["Verdict", "npy_name", "verify"]

SEEDS: Final = 2
"""Inputs of each model where the user gives none."""
PATCHES: Final = 256
"""Pieces of a work buffer that a random pattern fills with a value of their own."""
ROUNDS: Final = 3
"""How often a pair executes side by side."""


@dataclass(slots=True)
class Verdict:
    """What was compared, and what differed.

    Attributes
    ----------
    models, instances : int
        That were executed.
    checks, mismatches : int
        Outputs compared with the reference, and those that differed.
    failures : list of str
        What differed, in words; the first few.
    control_detected : bool
        Whether a plan that overlaps on purpose was noticed.
    device : str
    """

    models: int = 0
    instances: int = 0
    checks: int = 0
    mismatches: int = 0
    failures: list[str] = field(default_factory=list)
    control_detected: bool = False
    device: str = ""

    def note(self, found: Outputs, wanted: Outputs, what: str) -> None:
        """Count one comparison."""
        self.count(found == wanted, what)

    def count(self, is_equal: bool, what: str) -> None:
        """Count one comparison that was made already."""
        self.checks += 1
        if not is_equal:
            self.mismatches += 1
            if len(self.failures) < 20:
                self.failures.append(what)

    @property
    def is_safe(self) -> bool:
        """Whether all was equal, and the control shows that this means something."""
        return self.mismatches == 0 and self.control_detected


@dataclass(frozen=True, slots=True)
class _Case:
    """One input of one instance, in the order of its visible tensors, and what it gives alone."""

    given: "_Given"
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class _Given:
    """What an execution is given: inputs in the order of the visible tensors, and its gear."""

    inputs: Sequence[bytes]
    gear: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f" in gear {'x'.join(map(str, self.gear))}" if self.gear else ""


def verify(
    opened: OpenedPlan,
    *,
    device: str | None = None,
    inputs: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verdict:
    """Execute every instance of a plan alone, poisoned, after and beside the others.

    Parameters
    ----------
    opened : OpenedPlan
    device : str or None
        Name; None: what the models are for.
    inputs : Path or None
        Folder of MODEL.INPUT.npy files (`npy_name`); models without files get seeded inputs.
    progress : callable
        Called with (stages done, stages in all).

    Raises
    ------
    UsageError
        A file of `inputs` belongs to no input, or does not fit it. Caused by the caller.
    DeviceError
        The device failed, or the negative control could not begin.
    """
    name = device or default_device(opened.plan.fleet)
    verdict = Verdict(device=name)
    with load_opened(opened, device=name) as fleet:
        items = list(fleet.runner.loaded.instances.values())
        values = _inputs_of(items, inputs)
        verdict.models = len(values)
        verdict.instances = len(items)
        cases = {item.instance.id: _alone(fleet, item, values) for item in items}
        stages = [*_poisonings(fleet, items), *_pairs(fleet, items), *_kept(fleet)]
        for done, stage in enumerate(stages):
            progress(done, len(stages) + 1)
            stage(cases, verdict)
    verdict.control_detected = control_detected(
        opened, name, {model: sets[0].inputs for model, sets in values.items()}
    )
    progress(len(stages) + 1, len(stages) + 1)
    return verdict


_Cases = Mapping[InstanceId, Sequence[_Case]]
_Stage = Callable[[_Cases, Verdict], None]


def _alone(
    fleet: Fleet, item: LoadedInstance, values: Mapping[ModelId, Sequence[_Given]]
) -> list[_Case]:
    return [_Case(own, _run(fleet, item, own)) for own in values[item.instance.model]]


def _run(fleet: Fleet, item: LoadedInstance, given: _Given) -> Outputs:
    stream = fleet.runner.streams[item.instance.lane]
    return execute_once(fleet.device, item, given.inputs, stream, given.gear)


# ---- what is done to the memory


def _poisonings(fleet: Fleet, items: Sequence[LoadedInstance]) -> Iterator[_Stage]:
    for item in items:
        work = fleet.runner.loaded.arena.work_of(item.instance)
        if work is not None:
            yield _poisoned(fleet, item, work)


def _poisoned(fleet: Fleet, item: LoadedInstance, work: DeviceRange) -> _Stage:
    def stage(cases: _Cases, verdict: Verdict) -> None:
        patterns: tuple[tuple[str, Callable[[], None]], ...] = (
            ("0x00", lambda: fleet.device.fill(work, 0x00)),
            ("0xFF", lambda: fleet.device.fill(work, 0xFF)),
            ("random bytes", lambda: _fill_randomly(fleet.device, work)),
        )
        for number, case in enumerate(cases[item.instance.id]):
            for name, poison in patterns:
                poison()
                what = (
                    f"{item.instance.id} on input {number}{case.given}, its work memory filled "
                    f"with {name}"
                )
                verdict.note(_run(fleet, item, case.given), case.outputs, what)

    return stage


def _fill_randomly(device: Device, work: DeviceRange) -> None:
    """Fill pieces of work memory with values of their own; the port fills one value at a time."""
    values = random.Random(work.size_bytes)
    size = align_up(max(1, work.size_bytes // PATCHES), 512)
    end = work.pointer + work.size_bytes
    for pointer in range(work.pointer, end, size):
        device.fill(DeviceRange(pointer, min(size, end - pointer)), values.randrange(256))


def _pairs(fleet: Fleet, items: Sequence[LoadedInstance]) -> Iterator[_Stage]:
    for first, second in combinations(items, 2):
        if _overlap(fleet, first, second):
            yield _after(fleet, first, second)
            yield _after(fleet, second, first)
        elif first.instance.lane != second.instance.lane:
            yield _beside(fleet, first, second)


def _overlap(fleet: Fleet, first: LoadedInstance, second: LoadedInstance) -> bool:
    one, other = (fleet.runner.loaded.arena.work_of(item.instance) for item in (first, second))
    return (
        one is not None
        and other is not None
        and max(one.pointer, other.pointer)
        < min(one.pointer + one.size_bytes, other.pointer + other.size_bytes)
    )


def _after(fleet: Fleet, sharer: LoadedInstance, item: LoadedInstance) -> _Stage:
    def stage(cases: _Cases, verdict: Verdict) -> None:
        for number, case in enumerate(cases[item.instance.id]):
            _run(fleet, sharer, cases[sharer.instance.id][0].given)
            what = f"{item.instance.id} on input {number}{case.given}, after {sharer.instance.id}"
            verdict.note(_run(fleet, item, case.given), case.outputs, what)

    return stage


def _beside(fleet: Fleet, first: LoadedInstance, second: LoadedInstance) -> _Stage:
    """Execute two instances at the same time, each on its lane's stream."""

    def stage(cases: _Cases, verdict: Verdict) -> None:
        pair = (first, second)
        for number in range(ROUNDS):
            chosen = [cases[i.instance.id][number % len(cases[i.instance.id])] for i in pair]
            launches: list[Launch] = []
            with left_none_running(fleet.device, launches):
                for item, case in zip(pair, chosen, strict=True):
                    launch = fleet.device.launch(
                        item.handle,
                        item.placed_inputs(case.given.inputs),
                        item.placed_outputs([None] * len(item.description.outputs)),
                        fleet.runner.streams[item.instance.lane],
                        gear=case.given.gear,
                    )
                    launches.append(launch)
                found = [fleet.device.finish(launch) for launch in launches]
            for item, case, data in zip(pair, chosen, found, strict=True):
                outputs = tuple(bytes(part) for part in data if part is not None)
                other = second if item is first else first
                what = f"{item.instance.id}, beside {other.instance.id}"
                verdict.note(outputs, case.outputs, what)

    return stage


def _kept(fleet: Fleet) -> Iterator[_Stage]:
    def made(kept: Callable[[Note], None]) -> _Stage:
        return lambda _cases, verdict: kept(verdict.count)

    return map(made, kept_stages(fleet))


# ---- inputs


def npy_name(model: str, tensor: str) -> str:
    """Return the name of the file that holds an input.

    Examples
    --------
    >>> npy_name("detector", "images:0")
    'detector.images:0.npy'
    >>> npy_name("encoder", "net/x")
    'encoder.net_x.npy'
    """
    return f"{model}.{tensor}.npy".replace("/", "_")


def _inputs_of(items: Sequence[LoadedInstance], folder: Path | None) -> dict[ModelId, list[_Given]]:
    """Return model -> what its executions are given, the largest gear first."""
    descriptions = {item.instance.model: item.description for item in items}
    found = {} if folder is None else _read_folder(folder, descriptions)
    inputs = {}
    for model, description in descriptions.items():
        own = found.get(model, {})
        largest = largest_gear(description)
        gears = sorted(gear_choices(description), key=lambda gear: gear != largest)
        inputs[model] = [
            _Given(
                [
                    own.get((name, len(value)), value)
                    for name, value in seeded_inputs(
                        description.at(gear).visible_inputs, seed
                    ).items()
                ],
                gear,
            )
            for gear in gears
            for seed in range(1 if own else SEEDS)
        ]
    return inputs


def _read_folder(
    folder: Path, descriptions: Mapping[ModelId, ModelDescription]
) -> dict[ModelId, dict[tuple[str, int], bytes]]:
    """Return model -> (input, its bytes) -> what a file has for it."""
    known: dict[str, tuple[ModelId, list[TensorSpec]]] = {}
    for model, description in descriptions.items():
        for gear in gear_choices(description):
            for spec in description.at(gear).visible_inputs:
                known.setdefault(npy_name(model, spec.name), (model, []))[1].append(spec)
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise UsageError(f"{folder}: found no .npy file, expected {', '.join(known)}")
    found: dict[ModelId, dict[tuple[str, int], bytes]] = {}
    for path in files:
        if path.name not in known:
            raise UsageError(f"{path}: belongs to no input, expected {', '.join(known)}")
        model, specs = known[path.name]
        data = _read_array(path, specs)
        found.setdefault(model, {})[specs[0].name, len(data)] = data
    return found


def _read_array(path: Path, specs: Sequence[TensorSpec]) -> bytes:
    """Return the bytes of a file that fits one of these: the same input in each gear."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read as an array: {error}") from None

    def fits(spec: TensorSpec) -> bool:
        fixed = bool(spec.shape) and min(spec.shape) >= 0
        same_type = spec.dtype == "bytes" or array.dtype == np.dtype(spec.dtype)
        same_shape = not fixed or array.shape == spec.shape
        return bool(array.nbytes == spec.size_bytes and same_type and same_shape)

    if not any(map(fits, specs)):
        wanted = " or ".join(
            f"{spec.dtype} {list(spec.shape)} of {spec.size_bytes} bytes" for spec in specs
        )
        raise UsageError(f"{path}: found {array.dtype} {list(array.shape)}, expected {wanted}")
    data: bytes = np.ascontiguousarray(array).tobytes()
    return data
