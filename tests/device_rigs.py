"""Devices under test, with models that they can run, and a device's module that fails on demand.

A rig is what the conformance suite asks of a device: how to make it, and models of known sizes.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arena.device.acl import AclDevice
from arena.device.adaptors import RaceCheck
from arena.device.base import Device, ModelSource
from arena.device.cpu.device import CpuDevice
from arena.device.twin import Twin, TwinConfig
from arena.formats.om_writer import OmSpec, write_om
from planner.model import TensorSpec
from planner.units import MiB
from tests.networks import byte_images, compiled

CHAINED_BYTES = 1024
"""Inputs and outputs of the small models: one's output is another's input."""
MODELS_VARIABLE = "NPU_ARENA_TEST_MODELS"

RigBuilder = Callable[[Path], "Rig"]


@dataclass(frozen=True)
class Rig:
    """A device and models for it.

    Attributes
    ----------
    make : callable
        Returns a new, closed device.
    models : tuple of ModelSource
        At least two that compute differently, with work, weights and one input and output of the
        same size.
    """

    make: Callable[[], Device]
    models: tuple[ModelSource, ...]


def chained_spec(name: str, seed: int, **fields: Any) -> OmSpec:
    """Return a model with one input and one output of `CHAINED_BYTES`."""
    tensor = TensorSpec("x", "float32", (1, CHAINED_BYTES // 4), CHAINED_BYTES)
    given = {
        "work_bytes": 90_624,
        "weight_bytes": 32_768,
        "inputs": (tensor,),
        "outputs": (TensorSpec("y:0", "float32", (1, CHAINED_BYTES // 4), CHAINED_BYTES),),
        **fields,
    }
    return OmSpec(name=name, seed=seed, **given)


def om_source(directory: Path, spec: OmSpec) -> ModelSource:
    """Write a model and return it as a source."""
    path = directory / f"{spec.name}.om"
    write_om(path, spec)
    return ModelSource(spec.name, path=path)


def twin_rig(directory: Path) -> Rig:
    """Return the `acl` device on a twin."""
    models = tuple(
        om_source(directory, chained_spec(name, seed))
        for name, seed in (("first", 1), ("second", 2))
    )
    config = TwinConfig(memory_bytes=256 * MiB)
    return Rig(lambda: AclDevice(acl=Twin(config).acl, name="twin", timeout_s=30), models)


def race_checked_rig(directory: Path) -> Rig:
    """Return the twin behind the race check, which reports and refuses nothing."""
    inner = twin_rig(directory)
    return Rig(lambda: RaceCheck(inner.make(), races=[]), inner.models)


def npu_rig(_directory: Path) -> Rig:
    """Return the `acl` device on hardware, with models that the machine's owner names."""
    if importlib.util.find_spec("acl") is None:
        pytest.skip("needs a real Ascend device: module acl cannot be imported")
    paths = [Path(text) for text in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if text]
    if len(paths) < 2:
        pytest.skip(f"needs two .om files for this chip in {MODELS_VARIABLE}")
    return Rig(
        lambda: AclDevice(timeout_s=60), tuple(ModelSource(path.stem, path=path) for path in paths)
    )


def cpu_rig(directory: Path) -> Rig:
    """Return the CPU device, with two small image networks that can be chained."""
    models = tuple(
        ModelSource(name, path=compiled(byte_images(seed), directory, name))
        for name, seed in (("first", 1), ("second", 2))
    )
    return Rig(lambda: CpuDevice(256 * MiB), models)


RIGS: Mapping[str, RigBuilder] = {
    "twin": twin_rig,
    "twin, race-checked": race_checked_rig,
    "cpu": cpu_rig,
    "npu": npu_rig,
}
"""Rigs of the conformance suite by name; another device joins by a row."""


class FailingAcl:
    """An ``acl`` module whose n-th call returns an error code instead of being made.

    Parameters
    ----------
    module : module
        A twin's.
    fail_call : int
        From 1 on; 0: never.
    code : int

    Attributes
    ----------
    module : module
        To use instead.
    calls : list of str
        Names of the calls so far.
    failed : str
        The one that failed; empty before.
    """

    NO_CODE = ("_by_index", "_data_type", "get_num_inputs", "get_num_outputs", "get_data_buffer")
    """Functions that return a value and no code cannot tell of a failure."""
    QUIET = ("get_recent_err_msg", "bytes_to_ptr", *NO_CODE)

    def __init__(self, module: ModuleType, fail_call: int = 0, code: int = 507_000) -> None:
        self.calls: list[str] = []
        self.failed = ""
        self.fail_call = fail_call
        self._code = code
        self.module = ModuleType("acl")
        for name, value in vars(module).items():
            if isinstance(value, ModuleType):
                part = ModuleType(value.__name__)
                for inner_name, function in vars(value).items():
                    if callable(function):
                        setattr(part, inner_name, self._wrap(f"{name}.{inner_name}", function))
                setattr(self.module, name, part)
            elif callable(value):
                setattr(self.module, name, self._wrap(name, value))

    def _wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if any(quiet in name for quiet in self.QUIET):
            return function

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) != self.fail_call:
                return function(*arguments)
            self.failed = name
            return failed_result(name, self._code)

        return call


def failed_result(name: str, code: int) -> Any:
    """Return what a call of pyACL gives when it fails with `code`."""
    short = name.rpartition(".")[2]
    if short.startswith("create_") and not name.startswith("rt."):
        return 0
    if short.endswith(("_dims", "_dims_v2")):
        return {}, code
    if short in ("get_mem_info", "query_size", "query_size_from_mem"):
        return 0, 0, code
    with_value = ("rt.create_", "rt.malloc", "mdl.load_", "rt.get_", "rt.query_", "rt.stream_query")
    if name.startswith(with_value) or short in ("add_dataset_buffer", "set_dataset_tensor_desc"):
        return 0, code
    return code
