"""Loading by a config handle, with the traps of the real one.

Kept on purpose: the load type that rejects a weight path, an attribute that the binding passes with
the wrong width and that therefore always fails, and a thread-local option that a load sets and
nobody resets.

References
----------
.. [1] CANN graph engine, model_config.cpp (accepted attributes), model_common.cpp
       (CheckMdlLoadConfigFromFile), model.cpp (UpdateGraphOptions); CANN runtime, python/pyACL
       (which type each attribute takes).
"""

from typing import Any, Final

from arena.device.acl_codes import AclCode
from arena.device.acl_types import ConfigAttribute, LoadType
from arena.device.twin.binding import CallFailed
from arena.device.twin.loading import Memory, load_model
from arena.device.twin.process import LoadedModel, Process

__all__ = ["LoadConfig", "load_by_config"]


_FROM_FILE: Final = (LoadType.FILE, LoadType.FILE_WITH_MEM)
_WITH_MEM: Final = (LoadType.FILE_WITH_MEM, LoadType.MEM_WITH_MEM)
_QUEUES: Final = (LoadType.FILE_WITH_QUEUES, LoadType.MEM_WITH_QUEUES)
_MASK_64: Final = (1 << 64) - 1


class LoadConfig:
    """What was set on one handle."""

    def __init__(self) -> None:
        self._values: dict[ConfigAttribute, Any] = {}

    @staticmethod
    def check_type(attribute: int, value: object) -> None:
        """Raise as the binding does: a path is text, everything else an int."""
        wanted: type = str if attribute == ConfigAttribute.PATH else int
        if not isinstance(value, wanted):
            raise TypeError("acl.mdl.set_config_opt args parse failed")
        if attribute == ConfigAttribute.PRIORITY and not -(1 << 31) <= value < 1 << 31:  # type: ignore[operator]  # an int by now
            raise TypeError("acl.mdl.set_config_opt args parse failed")

    def set(self, attribute: int, value: Any) -> None:
        """Remember an attribute, or fail: 100000."""
        try:
            known = ConfigAttribute(attribute)
        except ValueError:
            raise CallFailed(AclCode.INVALID_PARAM, f"attribute {attribute} is unknown") from None
        if known is ConfigAttribute.WITHOUT_GRAPH:
            raise CallFailed(
                AclCode.INVALID_PARAM, "WITHOUT_GRAPH_INT32 wants 4 bytes, the binding passes 8"
            )
        is_number = known not in (ConfigAttribute.PATH, ConfigAttribute.PRIORITY)
        self._values[known] = value & _MASK_64 if is_number else value

    def number(self, attribute: ConfigAttribute) -> int:
        """Return an attribute, 0 where it was not set."""
        value: int = self._values.get(attribute, 0)
        return value

    def require(self, attribute: ConfigAttribute) -> Any:
        """Return an attribute, or fail: 100000."""
        if attribute not in self._values:
            raise CallFailed(AclCode.INVALID_PARAM, f"attribute {attribute.name} is not set")
        return self._values[attribute]

    @property
    def has_weight_path(self) -> bool:
        """Whether a path of external weights was set."""
        return ConfigAttribute.WEIGHT_PATH in self._values


def load_by_config(process: Process, config: LoadConfig) -> LoadedModel:
    """Load a model as the configuration says, in the order of checks of the graph engine."""
    number = config.require(ConfigAttribute.LOAD_TYPE)
    if number in _QUEUES:
        raise CallFailed(AclCode.API_NOT_SUPPORT, "loading with queues is not reproduced")
    if number not in list(LoadType):
        raise CallFailed(AclCode.INVALID_PARAM, f"load type is {number}")
    load_type = LoadType(number)
    if load_type in _FROM_FILE:
        content = config.require(ConfigAttribute.PATH)
        if config.has_weight_path:
            raise CallFailed(
                AclCode.INVALID_PARAM, "loading from a file rejects a path of external weights"
            )
    else:
        content = process.model_at(
            config.require(ConfigAttribute.MODEL_POINTER),
            config.require(ConfigAttribute.MODEL_SIZE),
        )
    memory = Memory()
    if load_type in _WITH_MEM:
        memory = Memory(
            config.number(ConfigAttribute.WORK_POINTER),
            config.number(ConfigAttribute.WORK_SIZE),
            config.number(ConfigAttribute.WEIGHT_POINTER),
            config.number(ConfigAttribute.WEIGHT_SIZE),
        )
    process.reuse_zero_copy = config.number(ConfigAttribute.REUSE_ZERO_COPY) == 1
    return load_model(process, content, memory, priority=config.number(ConfigAttribute.PRIORITY))
