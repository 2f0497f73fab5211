"""A rehearsed Ascend device: a module with pyACL's functions over host memory.

`Twin(config).acl` is used wherever ``acl`` is: by `arena.device.acl`, or by an application of its
own while `Twin.installed` lets ``import acl`` find it. What it reproduces, and what not, is in
docs/twin.md.
"""

from contextlib import AbstractContextManager
from types import ModuleType
from typing import Final

from arena.device.acl_types import DEVICE_NAME, RunMode
from arena.device.twin.binding import export_calls
from arena.device.twin.calls_desc import DescriptionCalls
from arena.device.twin.calls_mdl import ModelCalls
from arena.device.twin.calls_root import RootCalls, UtilCalls
from arena.device.twin.calls_rt import RuntimeCalls
from arena.device.twin.config import MemoryKind, TwinConfig
from arena.device.twin.process import Process, TwinDevice, installed

__all__ = ["MemoryKind", "RunMode", "Twin", "TwinConfig", "TwinDevice"]

_DEFAULT: Final = TwinConfig()


class Twin:
    """One process' worth of AscendCL.

    Attributes
    ----------
    config : TwinConfig
    acl : module
        `acl`, with `acl.rt`, `acl.mdl` and `acl.util`.
    devices : tuple of TwinDevice
        What happened on each device: memory in use and at most, streams, executions, damage.

    Examples
    --------
    >>> acl = Twin().acl
    >>> acl.init(), acl.rt.set_device(0)
    (0, 0)
    >>> acl.rt.malloc(0, 0), acl.rt.get_device_count()
    ((0, 100000), (1, 0))
    """

    def __init__(self, config: TwinConfig = _DEFAULT) -> None:
        process = Process(config)
        self.config = config
        self.devices: tuple[TwinDevice, ...] = process.devices
        self.acl = ModuleType("acl", "AscendCL, rehearsed on the host.")
        setattr(self.acl, DEVICE_NAME, "twin")
        self._parts = (self.acl, *(ModuleType(f"acl.{name}") for name in ("rt", "mdl", "util")))
        root, rt, mdl, util = self._parts
        for part, owner in (
            (root, RootCalls(process)),
            (rt, RuntimeCalls(process)),
            (mdl, DescriptionCalls(process)),
            (mdl, ModelCalls(process)),
            (util, UtilCalls(process)),
        ):
            export_calls(owner, part, process.errors)
        for part in self._parts[1:]:
            setattr(self.acl, part.__name__.removeprefix("acl."), part)

    def installed(self) -> AbstractContextManager[None]:
        """Let ``import acl`` and ``import acl.rt`` find this twin inside the `with` block."""
        return installed(self._parts)
