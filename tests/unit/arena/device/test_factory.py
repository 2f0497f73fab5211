"""The factory opens devices by name, and says what is wrong with what was asked."""

import subprocess
import sys
from pathlib import Path

import pytest

from arena.device import DEVICES, open_device
from arena.device.twin import TwinConfig
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.units import MiB


def test_a_twin_opens_with_its_memory_and_a_limit() -> None:
    device = open_device("twin", memory_bytes=64 * MiB, limit_bytes=8 * MiB, timeout_s=5)
    assert device.name == "twin"
    assert device.memory_info().total_bytes == 8 * MiB
    device.close()


def test_a_twin_takes_its_configuration_and_number() -> None:
    device = open_device("twin", device_id=1, twin=TwinConfig(memory_bytes=MiB, n_devices=2))
    assert device.memory_info().total_bytes == MiB
    device.close()
    device = open_device("twin", device_id=2)
    assert device.memory_info().total_bytes == TwinConfig().memory_bytes
    device.close()
    with pytest.raises(DeviceError, match=r"107001.*this process sees 1"):
        open_device("twin", device_id=2, twin=TwinConfig())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "gpu"}, "unknown device 'gpu', expected acl, twin, cpu"),
        ({"name": "acl", "twin": TwinConfig()}, "takes no configuration of a twin"),
        ({"name": "acl", "memory_bytes": MiB}, "pass limit_bytes"),
        ({"name": "cpu", "device_id": 1}, "number 0 alone"),
    ],
)
def test_wrong_options_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_device(**arguments)  # type: ignore[arg-type]  # a table of bad ones


def test_missing_software_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "acl", None)
    with pytest.raises(DeviceError, match="rehearse with --device twin"):
        open_device("acl")
    monkeypatch.setitem(sys.modules, "arena.device.cpu.device", None)
    with pytest.raises(DeviceError, match=r"pip install 'npu-arena\[cpu\]'"):
        open_device("cpu")


def test_opening_a_device_imports_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("arena.device.twin")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "acl", None)
    with pytest.raises(DeviceError):
        open_device("acl")
    assert not any(name.startswith("arena.device.twin") for name in sys.modules)
    assert DEVICES == ("acl", "twin", "cpu")


def test_devices_but_cpu_need_the_standard_library_alone() -> None:
    root = Path(__file__).resolve().parents[4]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "import arena.device, arena.device.acl, arena.device.adaptors, arena.device.twin\n"
        "arena.device.open_device('twin').close()"
    )
    # -S: no site-packages; -I: nothing of this environment.
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
