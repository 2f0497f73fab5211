"""What this machine has, and why not the rest."""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from arena.cli import execute
from arena.device.twin import MemoryKind, RunMode, Twin, TwinConfig
from arena.diagnosis import ascend_software, diagnose, wanted_packages
from planner.units import MiB

ROOT = Path(__file__).resolve().parents[3]


def test_a_device_tells_about_itself(capsys: pytest.CaptureFixture[str]) -> None:
    config = TwinConfig(
        memory_bytes=512 * MiB,
        n_devices=3,
        memory_kind=MemoryKind.HBM,
        streams_max=77,
        run_mode=RunMode.DEVICE,
        soc="Ascend310P3",
    )
    with Twin(config).installed():
        found = {row["device"]: row for row in diagnose()["devices"]}["acl"]
        assert execute(["doctor"]) == 0
    assert found["available"]
    assert found["soc"] == "Ascend310P3"
    assert found["run_mode"] == "device"
    assert found["visible_devices"] == 3
    assert 0 < found["streams_free"] <= 77
    assert found["acl_version"] == "1.0.0"
    assert found["memory"]["hbm"]["total_bytes"] == 512 * MiB == found["total_bytes"]
    assert "ddr" not in found["memory"]
    out, _ = capsys.readouterr()
    assert "soc Ascend310P3" in " ".join(out.split())


def test_a_binding_that_lacks_calls_tells_the_rest() -> None:
    twin = Twin(TwinConfig(memory_bytes=64 * MiB))
    del twin.acl.rt.get_stream_available_num
    del twin.acl.get_version
    with twin.installed():
        found = {row["device"]: row for row in diagnose()["devices"]}["acl"]
    assert found["available"]
    assert found["visible_devices"] == 1
    assert found.keys().isdisjoint({"streams_free", "acl_version", "soc"})


@pytest.mark.skipif("acl" in sys.modules, reason="pyACL is installed here")
def test_a_device_that_is_not_there_says_why() -> None:
    found = {row["device"]: row for row in diagnose()["devices"]}["acl"]
    assert not found["available"]
    assert "install CANN" in found["detail"]


def test_software_is_found_by_its_files(tmp_path: Path) -> None:
    driver = tmp_path / "driver" / "version.info"
    driver.parent.mkdir()
    driver.write_text("Version=24.1.rc2\nascendhal_version=7.35.19\n")
    home = tmp_path / "elsewhere"
    info = home / "aarch64-linux" / "ascend_toolkit_install.info"
    info.parent.mkdir(parents=True)
    info.write_text("package_name=Ascend-cann-toolkit\nversion=8.0.RC2\narch=aarch64\n")
    (tmp_path / "davinci0").touch()
    (tmp_path / "davinci_manager").touch()
    environment = {"ASCEND_TOOLKIT_HOME": str(home), "ASCEND_RT_VISIBLE_DEVICES": "0"}
    assert ascend_software(tmp_path, environment, tmp_path) == {
        "cann_version": "8.0.RC2",
        "driver_version": "24.1.rc2",
        "device_files": ["davinci0"],
        "visible": "0",
        "missing": [],
    }


def test_each_missing_part_has_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "version.info").write_text("no such line\n")
    found = ascend_software(tmp_path, {}, tmp_path)
    assert (found["cann_version"], found["driver_version"], found["visible"]) == (None, None, None)
    assert [reason.split()[1] for reason in found["missing"]] == ["device", "driver", "CANN:"]


@pytest.mark.parametrize(
    "place",
    [
        "cann/aarch64-linux/ascend_toolkit_install.info",
        "ascend-toolkit/latest/x86_64-linux/ascend_toolkit_install.info",
        "nnrt/latest/aarch64-linux/ascend_nnrt_install.info",
        "nnae/latest/ascend_nnae_install.info",
        "ascend-toolkit/latest/runtime/version.info",
    ],
)
def test_every_documented_place_of_a_version_is_looked_at(tmp_path: Path, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text("version=8.5.0\n")
    assert ascend_software(tmp_path, {}, tmp_path)["cann_version"] == "8.5.0"


def _name(requirement: str) -> str:
    return str(canonicalize_name(Requirement(requirement).name))


def test_every_package_of_the_metadata_is_told_with_its_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted: dict[str, str | None] = {_name(text): None for text in project["dependencies"]}
    for extra in ("cpu", "demo", "solve", "metrics"):
        for text in project["optional-dependencies"][extra]:
            wanted[_name(text)] = extra
    wanted["npu-arena"] = None
    found = {_name(str(row["package"])): row for row in diagnose()["packages"]}
    assert {name: row["extra"] for name, row in found.items()} == wanted
    assert found.keys() > {"platformdirs", "filelock", "prometheus-client"}
    assert found["numpy"]["version"] == np.__version__


def test_extras_may_be_written_out() -> None:
    """As a wheel's metadata has them: names in small letters, extras without other extras."""
    extras = {
        "cpu": ["filelock", "onnx"],
        "demo": ["filelock", "onnx", "pillow"],
        "solve": ["numba"],
        "bench": ["matplotlib", "numba"],
        "all": ["filelock", "numba", "onnx", "pillow"],
    }
    requirements = ["numpy>=1.26", *(f"{n}>=1; extra == '{e}'" for e in extras for n in extras[e])]
    assert wanted_packages(requirements) == [
        ("numpy", None),
        ("filelock", "cpu"),
        ("onnx", "cpu"),
        ("pillow", "demo"),
        ("numba", "solve"),
    ]


def test_packages_are_named_as_they_name_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["pyyaml>=6", "no-such-package; extra == 'all'"]
    monkeypatch.setattr("arena.diagnosis.metadata.requires", lambda _: requires)
    rows = {row["package"]: row for row in diagnose()["packages"]}
    assert rows.keys() == {"npu-arena", "PyYAML", "no-such-package"}
    assert rows["no-such-package"] == {
        "package": "no-such-package",
        "extra": "all",
        "version": None,
    }


def test_a_copy_without_metadata_tells_of_itself_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("arena.diagnosis.metadata.requires", absent)
    monkeypatch.setattr("arena.diagnosis.__file__", str(tmp_path / "arena" / "diagnosis.py"))
    assert [row["package"] for row in diagnose()["packages"]] == ["npu-arena"]
