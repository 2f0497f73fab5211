"""Constants of AscendCL's interface: the binding exports none of them.

References
----------
.. [1] CANN runtime, include/external/acl/acl_rt.h and acl_base_rt.h (aclDataType, aclFormat,
       aclrtMemcpyKind, aclrtMemMallocPolicy, aclrtMemAttr, aclrtRunMode).
.. [2] CANN graph engine, inc/external/acl/acl_mdl.h (aclmdlConfigAttr and load types).
"""

from enum import IntEnum
from typing import Final

__all__ = [
    "AIPP_INPUT",
    "DATA_TYPES",
    "DEVICE_NAME",
    "GEARS_INPUT",
    "ConfigAttribute",
    "CopyKind",
    "LoadType",
    "MallocPolicy",
    "MemoryAttribute",
    "RunMode",
    "TensorFormat",
]

DEVICE_NAME: Final = "npu_arena_device"
"""Attribute by which a module with pyACL's functions says which device it is: a twin's says so."""
GEARS_INPUT: Final = "ascend_mbatch_shape_data"
"""Input that a choice of batch, image size or dims adds; its buffer is filled by the run time."""
AIPP_INPUT: Final = "ascend_dynamic_aipp_data"
"""Input that dynamic preprocessing adds; its buffer is filled by the run time."""

DATA_TYPES: Final = {
    0: "float32",
    1: "float16",
    2: "int8",
    3: "int32",
    4: "uint8",
    6: "int16",
    7: "uint16",
    8: "uint32",
    9: "int64",
    10: "uint64",
    11: "float64",
    12: "bool",
    16: "complex64",
    17: "complex128",
    27: "bfloat16",
}
"""aclDataType -> numpy's name of the element type."""


class RunMode(IntEnum):
    """Where the application runs: on the device's own CPU (RC boards, one memory) or on a host."""

    DEVICE = 0
    HOST = 1


class CopyKind(IntEnum):
    """Sides of a copy, source first."""

    HOST_TO_HOST = 0
    HOST_TO_DEVICE = 1
    DEVICE_TO_HOST = 2
    DEVICE_TO_DEVICE = 3
    DEFAULT = 4


class MallocPolicy(IntEnum):
    """Which pages an allocation takes."""

    HUGE_FIRST = 0
    HUGE_ONLY = 1
    NORMAL_ONLY = 2
    HUGE_FIRST_P2P = 3
    HUGE_ONLY_P2P = 4
    NORMAL_ONLY_P2P = 5
    HUGE1G_ONLY = 6
    HUGE1G_ONLY_P2P = 7


class MemoryAttribute(IntEnum):
    """Kinds of memory that can be asked for; a chip has DDR or HBM."""

    DDR = 0
    HBM = 1
    DDR_HUGE = 2
    DDR_NORMAL = 3
    HBM_HUGE = 4
    HBM_NORMAL = 5


class TensorFormat(IntEnum):
    """Layout of a tensor; others than these do not matter here."""

    UNDEFINED = -1
    ND = 2


class LoadType(IntEnum):
    """Values of `ConfigAttribute.LOAD_TYPE`."""

    FILE = 1
    FILE_WITH_MEM = 2
    MEM = 3
    MEM_WITH_MEM = 4
    FILE_WITH_QUEUES = 5
    MEM_WITH_QUEUES = 6


class ConfigAttribute(IntEnum):
    """Attributes that a load configuration accepts."""

    PRIORITY = 0
    LOAD_TYPE = 1
    PATH = 2
    MODEL_POINTER = 3
    MODEL_SIZE = 4
    WEIGHT_POINTER = 5
    WEIGHT_SIZE = 6
    WORK_POINTER = 7
    WORK_SIZE = 8
    INPUT_QUEUE_COUNT = 9
    INPUT_QUEUES = 10
    OUTPUT_QUEUE_COUNT = 11
    OUTPUT_QUEUES = 12
    REUSE_ZERO_COPY = 13
    WEIGHT_PATH = 14
    WITHOUT_GRAPH = 28
