"""Fleets of models with gears, from the fleet file to verified executions, on twin and cpu."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from arena.device import open_device
from arena.device.acl import AclDevice
from arena.device.adaptors import Race, RaceCheck
from arena.device.twin import Twin
from arena.exercise import exercise
from arena.fleet import Fleet
from arena.formats import read_model_facts
from arena.formats.arena_file import read_model
from arena.formats.om_tensors import GearsKind
from arena.plan_files import OpenedPlan, open_plan, write_plan
from arena.planning import plan_file
from arena.session import load_opened, plan_and_load
from arena.sources import stand_in_of_network
from arena.tensors import HostArray
from arena.verify import verify
from planner.errors import SpecError, UsageError
from planner.fleet import CrossStream
from tests.geared import HIDDEN, geared_om
from tests.networks import compiled, convolutions, network, open_batch, saved

FLEET = """\
version: 1
models:
  read: {file: read.om}
  find: {file: find.om}
  plain: {work: 64KiB, weights: 4KiB}
pipelines:
  camera:
    channels: 2
    frames_in_flight: 2
    steps:
      read: {model: read, lane: {pool: ocr, size: 2}}
      find: {model: find, after: [read], lane: eyes}
      rest: {model: plain, after: [find]}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    geared_om(tmp_path / "read.om", GearsKind.BATCH, 1)
    geared_om(tmp_path / "find.om", GearsKind.HW, 2)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    return fleet


def image(*shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_plan_tells_the_gears_and_loads_from_its_file(path: Path) -> None:
    planned = plan_file(path)
    sizes = {model: size for model, size in planned.plan.sizes if size.gears}
    assert {model: size.gear_choices for model, size in sizes.items()} == {
        "read": ((1,), (8,), (2,)),
        "find": ((4, 8), (16, 8)),
    }
    write_plan(planned.plan, path.with_name("plan.json"), base=planned.base)
    with load_opened(open_plan(path.with_name("plan.json")), device="twin") as fleet:
        assert outputs_of(fleet)["y:0"].shape == (8, 5)


def outputs_of(fleet: Fleet) -> Mapping[str, HostArray]:
    return fleet.run("camera[0].read", image(8, 3), gear=8)


def test_frames_run_and_submit_in_a_gear(path: Path) -> None:
    with plan_and_load(path, device="twin") as fleet:
        with fleet.frame("camera[0]") as frame:
            one = frame.run("read", image(1, 3), gear=1)["y:0"]
            two = frame.run("read", {"x": image(2, 3)}, gear=(2,))["y:0"]
            eight = frame.submit("read", image(8, 3), gear=[8])
            found = frame.run("find", image(1, 16, 8), gear=(16, 8))["y:0"]
        assert [array.shape for array in (one, two, eight.result()["y:0"], found)] == [
            (1, 5),
            (2, 5),
            (8, 5),
            (1, 5),
        ]
        assert outputs_of(fleet)["y:0"].tobytes() == eight.result()["y:0"].tobytes()


def test_wrong_gears_are_refused_before_any_call_is_made(path: Path) -> None:
    with plan_and_load(path, device="twin") as fleet, fleet.frame("camera[0]") as frame:
        wrong: dict[Any, str] = {
            None: "gear none: expected one of 1, 8, 2",
            3: "gear 3: expected one of 1, 8, 2",
            (8, 8): "gear 8x8: expected one of",
            2.5: "gear 2.5: expected a whole number, or a sequence of them",
            "ab": "gear 'ab': expected a whole number",
        }
        for gear, message in wrong.items():
            with pytest.raises(UsageError, match=f"'read' of camera.0. frame 0: {message}"):
                frame.run("read", image(2, 3), gear=gear)
            with pytest.raises(UsageError, match=message), frame.slot("read", gear=gear):
                pass
        with pytest.raises(UsageError, match=r"found shape \[2, 3\], expected \[8, 3\]"):
            frame.submit("read", image(2, 3), gear=8)
        with pytest.raises(UsageError, match=r"'rest' of .*: gear 8: the model has none"):
            frame.run("rest", bytes(64), gear=8)
        frame.run("read", image(2, 3), gear=2)


def test_an_application_in_a_slot_sets_the_gear_itself(path: Path) -> None:
    with plan_and_load(path, device="twin") as fleet:
        with fleet.frame("camera[0]") as frame:
            mine = frame.run("read", image(2, 3), gear=2)["y:0"].tobytes()
            with frame.slot("read", gear=2) as slot:
                assert (slot.gear, slot.hidden) == ((2,), (HIDDEN.name,))
                launch = fleet.device.launch(
                    slot.model_id, [image(2, 3).data], [None], slot.stream, gear=slot.gear
                )
                (output,) = fleet.device.finish(launch)
            with frame.slot("rest") as slot:
                assert (slot.gear, slot.hidden) == ((), ())
        assert output == mine


@pytest.mark.parametrize("mode", CrossStream)
def test_every_gear_is_driven_and_nothing_differs(path: Path, mode: CrossStream) -> None:
    spec = plan_file(path).plan.fleet
    spec = replace(spec, device=replace(spec.device, cross_stream=mode))
    races: list[Race] = []
    twin = open_device("twin")
    device = RaceCheck(twin, races)
    with plan_and_load(spec, device=device, base=path.parent) as fleet:
        outcome = exercise(fleet, 6, threads=3)
    twin.close()
    assert (outcome.executions, outcome.mismatches) == (6 * 2 * 3, 0)
    assert races == []


def test_verification_covers_every_gear(path: Path) -> None:
    verdict = verify(open_plan_of(path), device="twin")
    assert verdict.is_safe
    assert verdict.mismatches == 0
    # read on two lanes in 3 gears, find in 2, plain in 1: two inputs each, three poisons each
    assert verdict.checks >= (2 * 3 + 2 + 1) * 2 * 3


def test_verification_takes_inputs_of_any_gear(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    np.save(folder / "read.x.npy", image(2, 3))
    assert verify(open_plan_of(path), device="twin", inputs=folder).is_safe
    np.save(folder / "read.x.npy", image(3, 3))
    wanted = r"expected float32 \[1, 3\] of 12 bytes or float32 \[8, 3\] of 96 bytes or"
    with pytest.raises(UsageError, match=wanted):
        verify(open_plan_of(path), device="twin", inputs=folder)


def open_plan_of(path: Path) -> OpenedPlan:
    planned = plan_file(path)
    return OpenedPlan(planned.plan, planned.base)


def test_tensors_of_models_with_gears_are_not_handed_on(path: Path) -> None:
    path.write_text(
        FLEET.replace("rest: {model: plain,", 'rest: {model: plain, feeds: {x: "find.y:0"},')
    )
    with pytest.raises(SpecError, match=r"'find' wants a choice of dynamic hw: .*through the host"):
        plan_file(path)


def test_compiled_files_bring_their_gears(path: Path) -> None:
    path.write_text(FLEET.replace("{file: read.om}", "{file: read.om, gears: {x: [[1], [2]]}}"))
    with pytest.raises(SpecError, match=r"models\.read\.gears: read\.om is compiled: its shapes"):
        plan_file(path)


def test_an_onnx_file_runs_in_gears_on_cpu_with_its_weights_once(tmp_path: Path) -> None:
    saved(open_batch(), tmp_path)
    path = tmp_path / "fleet.yaml"
    path.write_text("""
        version: 1
        models: {read: {file: model.onnx, gears: {x: [[2, 16], [1, 16], [5, 16]]}}}
        pipelines: {p: {channels: 2, lane: "ocr-{channel}", steps: {read: {model: read}}}}
        """)
    with plan_and_load(path, device="cpu") as fleet:
        assert len({row.weight_offset for row in fleet.plan.instances}) == 1
        ((_, size),) = fleet.plan.sizes
        assert size.gear_choices == ((2,), (1,), (5,))
        for gear in (5, 1, 2, 5):
            x = np.linspace(-1, 1, gear * 16, dtype=np.float32).reshape(gear, 16)
            outputs = fleet.run("p[1].read", x, gear=gear)["y"]
            assert outputs.shape == (gear, 32)
            np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-6)
            for row in range(gear):
                alone = fleet.run("p[0].read", x[row : row + 1], gear=1)["y"]
                np.testing.assert_allclose(alone[0], outputs[row], rtol=1e-6)
        outcome = exercise(fleet, 9, threads=2)
        assert (outcome.executions, outcome.mismatches) == (18, 0)
    write_plan(plan_file(path).plan, tmp_path / "plan.json", base=tmp_path)
    verdict = verify(open_plan(tmp_path / "plan.json"), device="cpu")
    # Two instances in three gears: two inputs each; the network is too small for the control.
    assert (verdict.models, verdict.mismatches) == (1, 0)
    assert verdict.checks >= 2 * 3 * 2 * 3


MIXED = """\
version: 1
device: {io: arena}
models:
  find: {file: plain.onnx}
  read: {file: batched.onnx, gears: {x: [[2, 16], [1, 16], [5, 16]]}}
  made: {file: made.om}
  said: {work: 64KiB, weights: 4KiB}
pipelines:
  camera:
    channels: 2
    lane: "own-{channel}"
    steps:
      find: {model: find}
      read: {model: read, after: [find], lane: ocr}
      made: {model: made, after: [find]}
      said: {model: said, after: [read]}
"""


def test_the_twin_rehearses_networks_of_cpu_beside_all_others(tmp_path: Path) -> None:
    saved(convolutions(), tmp_path, "plain")
    saved(open_batch(), tmp_path, "batched")
    geared_om(tmp_path / "made.om", GearsKind.BATCH)
    path = tmp_path / "fleet.yaml"
    path.write_text(MIXED)
    with pytest.raises(UsageError, match="make two fleets, or rehearse it on device 'twin'"):
        plan_and_load(path)
    with pytest.raises(UsageError, match=r"'made' is an .om file, .* use twin or acl"):
        plan_and_load(path, device="cpu")
    with pytest.raises(UsageError, match=r"'find' is ONNX, .* use cpu, or rehearse on twin"):
        plan_and_load(path, device=AclDevice(acl=Twin().acl, name="acl"))
    with plan_and_load(path, device="twin") as fleet:
        planned = dict(fleet.plan.sizes)
        for item in fleet.runner.loaded.instances.values():
            size, told = planned[item.instance.model], item.description
            visible = [tensor for tensor in told.inputs if tensor.name not in told.hidden]
            assert {gear.choice for gear in told.gears} == set(size.gear_choices)
            if item.instance.model != "said":
                assert [tensor.name for tensor in visible] == [t.name for t in size.inputs][:1]
        shapes = [fleet.run("camera[1].read", image(n, 16), gear=n)["y"].shape for n in (1, 2, 5)]
        assert shapes == [(1, 32), (2, 32), (5, 32)]
        outcome = exercise(fleet, 9, threads=3)
        assert (outcome.executions, outcome.mismatches) == (9 * 2 * 4, 0)
    verdict = verify(OpenedPlan(plan_file(path).plan, tmp_path), device="twin")
    assert (verdict.models, verdict.is_safe) == (4, True)


def test_the_twin_rehearses_gears_of_several_axes(tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    saved(network([relu], {"x": ["n", "m"]}, {"y": ["n", "m"]}), tmp_path)
    path = tmp_path / "fleet.yaml"
    path.write_text("""
        version: 1
        models: {read: {file: model.onnx, gears: {x: [[2, 16], [3, 8]]}}}
        pipelines: {p: {steps: {read: {model: read, lane: ocr}}}}
        """)
    with plan_and_load(path, device="twin") as fleet:
        for gear in ((2, 16), (3, 8)):
            assert fleet.run("p[0].read", image(*gear), gear=gear)["y"].nbytes == 2 * 16 * 4
        with pytest.raises(UsageError, match=r"found shape \[3, 8\], expected \[2, 16\]"):
            fleet.run("p[0].read", image(3, 8), gear=(2, 16))


def test_stand_ins_share_weights_where_the_networks_do(tmp_path: Path) -> None:
    first, again, other = (
        compiled(model, tmp_path, name)
        for name, model in (
            ("first", convolutions(0)),
            ("again", convolutions(0)),
            ("other", convolutions(1)),
        )
    )
    facts = [read_model_facts(stand_in_of_network("m", path)) for path in (first, again, other)]
    assert facts[0].weights_sha256 == facts[1].weights_sha256 != facts[2].weights_sha256
    model = read_model(first)
    assert (facts[0].work_bytes, facts[0].weight_bytes) == (model.work_bytes, model.weight_bytes)
    assert facts[0].file_sha256 == read_model_facts(stand_in_of_network("m", first)).file_sha256
