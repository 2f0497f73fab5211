"""The device catalogue: shipped entries, the user's own, and what is wrong with a file."""

from pathlib import Path

import pytest

from arena.catalogue import CATALOGUE_VARIABLE, device_catalogue, device_model, parse_catalogue
from planner.errors import DecodeError, UsageError
from planner.units import GiB, MiB


def test_usable_is_less_than_nominal_and_every_entry_has_a_source() -> None:
    devices = device_catalogue()
    assert len(devices) >= 10
    assert all(0 < device.usable_bytes < device.nominal_bytes for device in devices)
    assert all(device.source for device in devices)
    pro = device_model("ascend310p3")
    assert (pro.total_bytes, pro.nominal_bytes) == (21527 * MiB, 24 * GiB)
    assert pro.usable_bytes == (21527 - 1846) * MiB


def test_a_file_of_the_user_adds_and_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "version: 1\ndevices:\n"
        "  Ascend310P3: {total: 20000, idle: 0, source: measured}\n"
        "  Mine: {products: [box], nominal: 100, total: 90, idle: 10, source: s, note: n}\n"
    )
    monkeypatch.setenv(CATALOGUE_VARIABLE, str(own))
    assert device_model("Ascend310P3").usable_bytes == 20000 * MiB
    assert device_model("mine").usable_bytes == 80 * MiB
    monkeypatch.setenv(CATALOGUE_VARIABLE, str(tmp_path / "absent.yaml"))
    with pytest.raises(DecodeError, match="absent"):
        device_catalogue()


def test_unknown_devices_get_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'Ascend310P3'"):
        device_model("Ascend310P4x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not YAML"),
        ("[]", "version: 1"),
        ("{version: 2, devices: {}}", "version: 1"),
        ("{version: 1, devices: {X: 3}}", "printable name and a mapping"),
        ("{version: 1, devices: {3: {}}}", "printable name"),
        ("{version: 1, devices: {X: {totl: 3}}}", "did you mean 'total'"),
        ("{version: 1, devices: {X: {total: -1}}}", r"devices\.X\.total: expected a whole number"),
        ("{version: 1, devices: {X: {total: 1, idle: true}}}", r"X\.idle"),
        ("{version: 1, devices: {X: {total: 1, idle: 2, source: s}}}", "idle <= total"),
        ("{version: 1, devices: {X: {total: 1, idle: 0}}}", r"X\.source: expected text"),
        (
            "{version: 1, devices: {X: {total: 1, idle: 0, source: s, products: y}}}",
            "list of texts",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        parse_catalogue(text, "own.yaml")
