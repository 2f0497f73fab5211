"""`arena verify`: what it says of good plans, and that it can say no."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from arena import negative_control
from arena.cli import execute
from arena.device import open_device
from arena.device.adaptors.adaptor import Adaptor
from arena.device.base import Device, DeviceRange, Launch
from arena.errors import DeviceError
from arena.plan_files import OpenedPlan
from arena.planning import plan_file
from arena.references import seeded_inputs
from arena.sizes import read_facts
from arena.verify import verify
from planner.plan import Plan
from tests.commands import arena
from tests.fleets import write_fleet
from tests.networks import convolutions

FLEET = """\
version: 1
models:
  first: {file: first.onnx}
  second: {file: second.onnx}
pipelines:
  camera:
    channels: 2
    lane: "cam-{channel}"
    steps:
      see: {model: first}
      look: {model: second, after: [see]}
"""


@pytest.fixture
def twin_fleet(tmp_path: Path) -> Path:
    return write_fleet(tmp_path / "street")


@pytest.fixture
def cpu_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small networks, both used on two lanes."""
    monkeypatch.setenv("ARENA_CACHE_DIR", str(tmp_path / "cache"))
    for seed, name in enumerate(("first", "second")):
        onnx.save(convolutions(seed, channels=16, size=48), tmp_path / f"{name}.onnx")
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


def opened(path: Path) -> OpenedPlan:
    planned = plan_file(path)
    return OpenedPlan(planned.plan, planned.base)


def test_on_the_twin(twin_fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = arena(capsys, "verify", twin_fleet)
    assert (verdict["device"], verdict["models"], verdict["instances"]) == ("twin", 3, 3)
    # 3 instances x 2 inputs x 3 patterns; two sharers both ways x 2; two pairs x 3 rounds x 2.
    assert verdict["checks"] == 18 + 4 + 12
    assert verdict["mismatches"] == 0
    assert verdict["control_detected"] is True
    assert verdict["failures"] == []


def test_on_the_cpu(cpu_fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = arena(capsys, "verify", cpu_fleet)
    assert (verdict["device"], verdict["models"], verdict["instances"]) == ("cpu", 2, 4)
    assert verdict["checks"] == 4 * 2 * 3 + 2 * 2 * 2 + 4 * 3 * 2
    assert (verdict["mismatches"], verdict["control_detected"]) == (0, True)


def test_a_plan_file_and_text(
    twin_fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    arena(capsys, "plan", twin_fleet, "-o", plan)
    assert execute(["verify", str(plan), "--device", "twin"]) == 0
    out, _ = capsys.readouterr()
    assert "34 outputs compared, 0 differ" in out
    assert "overlap on purpose: noticed" in out


class Remembering(Adaptor):
    """A device whose models look at what was left in memory: after 0xFF they lie."""

    def __init__(self, inner: Device) -> None:
        super().__init__(inner)
        self.poisoned = False

    def fill(self, memory: DeviceRange, value: int) -> None:
        self.poisoned = value == 0xFF
        self.inner.fill(memory, value)

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        outputs = self.inner.finish(launch)
        for data in outputs:
            if self.poisoned and data:
                data[0] ^= 1
        return outputs


def test_what_depends_on_old_bytes_is_found(
    twin_fleet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("arena.session.open_device", lambda name: Remembering(open_device(name)))
    verdict = arena(capsys, "verify", twin_fleet, code=1)
    assert verdict["mismatches"] == 6
    assert all("filled with 0xFF" in failure for failure in verdict["failures"])
    assert execute(["verify", str(twin_fleet)]) == 1
    assert "differs: detector@vision on input 0" in capsys.readouterr()[0]


# ---- the user's inputs


def test_inputs_of_the_user(
    twin_fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    np.save(folder / "detector.x.npy", np.full((4, 4), 0.5, np.float32))
    verdict = arena(capsys, "verify", twin_fleet, "--inputs", folder)
    assert verdict["mismatches"] == 0
    assert verdict["checks"] == 34 - 3 - 1  # one input of the detector instead of two


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (None, None, "found no .npy file"),
        ("other.x.npy", np.zeros(1), "belongs to no input"),
        ("detector.x.npy", np.zeros((4, 4)), "expected float32"),  # another type
        ("detector.x.npy", np.zeros(16, np.float32), r"found float32 \[16\]"),  # another shape
        ("detector.x.npy", None, "cannot be read as an array"),  # damaged
    ],
)
def test_wrong_inputs_are_refused(
    name: str | None,
    content: np.ndarray[Any, Any] | None,
    said: str,
    twin_fleet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    if name and content is not None:
        np.save(folder / name, content)
    elif name:
        (folder / name).write_bytes(b"\x93NUMPY")
    error = arena(capsys, "verify", twin_fleet, "--inputs", folder, code=2)["error"]
    assert np.size(error["message"])
    with pytest.raises(Exception, match=said):
        verify(opened(twin_fleet), device="twin", inputs=folder)


# ---- the control


def disjoint(plan: Plan) -> Plan:
    """The control's lanes with a place for everybody: nothing is to be noticed there."""
    wrong = negative_control.overlapping(plan)
    rows, top = [], 0
    for row in wrong.instances:
        rows.append(replace(row, work_offset=top))
        top += plan.rule.reserved_bytes(row.work_bytes)
    return replace(wrong, instances=tuple(rows), height_bytes=top)


def inputs_of(opened: OpenedPlan) -> dict[Any, Sequence[bytes]]:
    return {
        model: list(
            seeded_inputs(
                read_facts(opened.base / opened.plan.fleet.model(model).file).size.inputs,  # type: ignore[union-attr]  # these have sizes
                0,
            ).values()
        )
        for model, _ in opened.plan.sizes
    }


def test_the_control_tells_overlapping_from_disjoint_plans(
    twin_fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negative_control, "TRIES_S", 0.1)
    plan = opened(twin_fleet)
    inputs = inputs_of(plan)
    for wrong, noticed in (
        (negative_control.overlapping(plan.plan), True),
        (disjoint(plan.plan), False),
    ):
        ours, theirs = multiprocessing.Pipe()
        negative_control.execute_pairs(theirs, wrong, plan.base, "twin", inputs)
        assert (ours.recv(), ours.recv()) == ("ready", noticed)
        ours.close()


def test_a_disjoint_plan_in_a_child_is_not_noticed(cpu_fleet: Path) -> None:
    plan = opened(cpu_fleet)
    inputs = inputs_of(plan)
    assert not negative_control.changes_outputs(disjoint(plan.plan), plan.base, "cpu", inputs)


def test_a_control_that_cannot_begin_is_an_error(twin_fleet: Path) -> None:
    plan = opened(twin_fleet)
    inputs = inputs_of(plan)
    (twin_fleet.parent / "models" / "rec.om").unlink()
    with pytest.raises(DeviceError, match=r"could not begin: .*rec\.om"):
        negative_control.control_detected(plan, "twin", inputs)


def test_an_execution_that_fails_is_noticed(
    twin_fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = opened(twin_fleet)
    device = open_device("twin")
    launch = device.launch

    def fail_beside(*arguments: Any, **named: Any) -> Launch:
        started.append(arguments[-1])
        if len(set(started)) > 1:
            raise DeviceError("the memory of the execution is not its own")
        return launch(*arguments, **named)

    started: list[int] = []
    monkeypatch.setattr(device, "launch", fail_beside)
    monkeypatch.setattr(negative_control, "open_device", lambda _: device)
    ours, theirs = multiprocessing.Pipe()
    negative_control.execute_pairs(theirs, disjoint(plan.plan), plan.base, "twin", inputs_of(plan))
    assert (ours.recv(), ours.recv()) == ("ready", True)
    ours.close()


def test_a_child_that_says_nothing_is_no_answer() -> None:
    ours, theirs = multiprocessing.Pipe()
    assert negative_control._receive(ours, timeout_s=0.01) is None
    theirs.close()
    assert negative_control._receive(ours) is None
    ours.close()
