"""On a board: a plan is read, judged, loaded and run with the standard library and `acl` alone."""

import subprocess
import sys
from pathlib import Path

from arena.plan_files import write_plan
from arena.session import open_plan_or_fleet
from tests.fleets import write_fleet

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys

ALLOWED = set(sys.stdlib_module_names) | {"arena", "planner", "acl"}
PLANNING = {
    "planner.bounds", "planner.conflict", "planner.fleet_file", "planner.pipeline",
    "planner.schedule", "planner.solvers", "planner.strategies", "planner.report",
    "arena.planning", "arena.sizes", "arena.cli", "arena.exercise",
}


class OnlyTheBoard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in ALLOWED:
            raise ImportError(f"third-party module {name} was imported")
        if any(name == room or name.startswith(room + ".") for room in PLANNING):
            raise ImportError(f"planning room {name} was imported")
        return None


sys.meta_path.insert(0, OnlyTheBoard())

from arena import plan_and_load
from arena.device.twin import Twin

with Twin().installed(), plan_and_load(sys.argv[1], device="acl") as fleet:
    with fleet.frame("camera[0]") as frame:
        first = frame.run("detect", bytes(64))
        future = frame.submit("read", {"x": bytes(64)})
        assert list(future.result(timeout=30)) == ["y"]
    assert isinstance(first["y"], memoryview), type(first["y"])
    assert first["y"].shape == (8,)
    print(fleet.report().text())
third_party = {
    name.split(".")[0] for name in sys.modules if not name.startswith("_")
} - ALLOWED - {"__main__", "__mp_main__"}
allowed_by_site = {"sitecustomize", "usercustomize", "distutils-precedence"}
print("third party:", sorted(n for n in third_party - allowed_by_site if "site-packages" in str(
    getattr(sys.modules[n], "__file__", ""))))
"""


def test_a_plan_runs_without_third_party_modules(tmp_path: Path) -> None:
    planned = open_plan_or_fleet(write_fleet(tmp_path / "street"))
    target = tmp_path / "plan.json"
    write_plan(planned.plan, target, base=planned.base)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(target)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "measured at the peak" in done.stdout
    assert "third party: []" in done.stdout
