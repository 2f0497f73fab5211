"""`patch_acl` and `attach` inside an application that owns its context."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.device.twin import Twin
from arena.errors import GuardError
from arena.patching import patch_acl
from arena.plan_files import write_plan
from arena.planning import Planned, plan_file
from arena.session import attach
from planner.errors import PlanError, UsageError
from tests.fleets import write_fleet

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def twin() -> Iterator[Twin]:
    """Return a twin whose application has initialised it and set a context."""
    twin = Twin()
    acl: Any = twin.acl
    assert acl.init() == 0
    context, code = acl.rt.create_context(0)
    assert code == 0
    yield twin
    assert acl.rt.destroy_context(context) == 0
    assert acl.finalize() == 0


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    return plan_file(write_fleet(tmp_path / "street"))


def used(acl: Any) -> int:
    free, total, code = acl.rt.get_mem_info(0)
    assert code == 0
    return int(total - free)


def test_planned_files_get_planned_memory(twin: Twin, planned: Planned) -> None:
    acl: Any = twin.acl
    plain = acl.mdl.load_from_file
    before = used(acl)
    with patch_acl(planned.plan, acl=twin.acl, base=planned.base):
        first, code = acl.mdl.load_from_file(str(planned.base / "models" / "det.om"))
        assert code == 0
        assert used(acl) - before >= planned.plan.planned_bytes
        second, code = acl.mdl.load_from_file(str(planned.base / "models" / "rec.om"))
        assert code == 0
        for model in (first, second):
            assert acl.mdl.unload(model) == 0
        assert used(acl) == before
    assert acl.mdl.load_from_file is plain


def test_other_files_load_as_ever(twin: Twin, planned: Planned, tmp_path: Path) -> None:
    acl: Any = twin.acl
    other = tmp_path / "other.om"
    other.write_bytes((planned.base / "models" / "det.om").read_bytes())
    with patch_acl(planned.plan, acl=twin.acl, base=planned.base):
        model, code = acl.mdl.load_from_file(str(other))
        assert code == 0
        assert acl.mdl.unload(model) == 0


def test_what_is_still_loaded_is_named(twin: Twin, planned: Planned) -> None:
    acl: Any = twin.acl
    with (
        pytest.raises(UsageError, match=r"still loaded .*: detector@vision"),
        patch_acl(planned.plan, acl=twin.acl, base=planned.base),
    ):
        model, _ = acl.mdl.load_from_file(str(planned.base / "models" / "det.om"))
    assert acl.mdl.unload(model) == 0


def test_sharers_that_only_order_keeps_apart_are_refused(twin: Twin, planned: Planned) -> None:
    fleet = planned.plan.fleet
    single = replace(
        fleet,
        pipelines=tuple(replace(p, channels=1, frames_in_flight=1) for p in fleet.pipelines[:1]),
    )
    from planner.pipeline import plan_fleet

    shared = plan_fleet(single, dict(planned.plan.sizes))
    assert shared.height_bytes < planned.plan.height_bytes  # lanes share, by order alone
    with (
        pytest.raises(PlanError, match="only the order of their steps keeps them apart"),
        patch_acl(shared, acl=twin.acl, base=planned.base),
    ):
        pass


def test_a_model_on_several_lanes_needs_a_bound_thread(twin: Twin, planned: Planned) -> None:
    fleet = planned.plan.fleet
    camera, door = fleet.pipelines
    lanes = replace(
        fleet, pipelines=(camera, replace(door, steps=(replace(door.steps[0], lane="hall"),)))
    )
    from planner.pipeline import plan_fleet

    plan = plan_fleet(lanes, dict(planned.plan.sizes))
    acl: Any = twin.acl
    path = str(planned.base / "models" / "rec.om")
    with patch_acl(plan, acl=twin.acl, base=planned.base) as patched:
        with pytest.raises(GuardError, match="bind it with `bind_lane`"):
            acl.mdl.load_from_file(path)
        with pytest.raises(UsageError, match="no lane 'cellar'"), patched.bind_lane("cellar"):
            pass
        for lane in ("hall", "vision"):
            with patched.bind_lane(lane):
                model, code = acl.mdl.load_from_file(path)
                assert code == 0
                assert acl.mdl.unload(model) == 0


def test_a_changed_model_file_is_refused(twin: Twin, planned: Planned) -> None:
    model = planned.base / "models" / "rec.om"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    with (
        pytest.raises(PlanError, match=r"model 'reader': .* has digest"),
        patch_acl(planned.plan, acl=twin.acl, base=planned.base),
    ):
        pass


def test_a_failed_first_load_gives_the_arena_back(twin: Twin, planned: Planned) -> None:
    acl: Any = twin.acl
    before = used(acl)
    with patch_acl(planned.plan, acl=twin.acl, base=planned.base):
        model = planned.base / "models" / "det.om"
        model.write_bytes(b"no model any more")
        _, code = acl.mdl.load_from_file(str(model))
        assert code != 0
    assert used(acl) == before


def test_executions_hold_the_locks_of_their_instance(twin: Twin, planned: Planned) -> None:
    acl: Any = twin.acl
    with patch_acl(planned.plan, acl=twin.acl, base=planned.base) as patched:
        path = str(planned.base / "models" / "det.om")
        model, _ = acl.mdl.load_from_file(path)
        stream, _ = acl.rt.create_stream()
        empty = acl.mdl.create_dataset()
        lock = patched._locks["vision"]
        with lock:
            done: list[int] = []
            context, _ = acl.rt.get_context()

            def execute() -> None:
                acl.rt.set_context(context)
                done.append(acl.mdl.execute_async(model, empty, empty, stream))

            thread = threading.Thread(target=execute)
            thread.start()
            thread.join(0.2)
            assert done == []  # waits for the lane
        thread.join()
        assert done != [0]  # the empty dataset is refused, after the lock was had
        assert acl.mdl.execute(model, empty, empty) != 0
        assert acl.mdl.destroy_dataset(empty) == 0
        assert acl.rt.destroy_stream(stream) == 0
        assert acl.mdl.unload(model) == 0


def test_attach_leaves_the_application_as_it_was(
    twin: Twin, planned: Planned, tmp_path: Path
) -> None:
    acl: Any = twin.acl
    context, _ = acl.rt.get_context()
    streams = {lane: acl.rt.create_stream()[0] for lane in ("vision", "tracking")}
    before = used(acl)
    target = tmp_path / "plan.json"
    write_plan(planned.plan, target, base=planned.base)
    with attach(target, context=context, streams=streams, acl=twin.acl) as fleet:
        with fleet.frame("camera[0]") as frame, frame.slot("detect") as slot:
            assert slot.stream == streams["vision"]
        assert fleet.run("camera[1].detect", bytes(64)).keys() == {"y"}
    assert used(acl) == before
    assert acl.rt.get_context() == (context, 0)
    for stream in streams.values():
        assert acl.rt.stream_query(stream) == (0, 0)
        assert acl.rt.destroy_stream(stream) == 0


@pytest.mark.parametrize("example", ["detect_and_classify.py", "unmodified_application.py"])
def test_the_examples_run(example: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / example],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "execution" in done.stdout or "classified" in done.stdout
