"""Return codes of AscendCL (pyACL): their names, and a way out for those that users meet.

Codes are facts of the vendor's interface; meanings and ways out are ours.

References
----------
.. [1] CANN runtime, include/external/acl/acl_base_rt.h and error_codes/rt_error_codes.h: 100xxx,
       107xxx, 148xxx, 200xxx, 207xxx, 500xxx, 507xxx.
.. [2] CANN graph engine, error_codes/ge_error_codes.h: 145xxx, 245xxx, 545xxx.
"""

from enum import IntEnum
from typing import Final

__all__ = ["AclCode", "explain_code"]


class AclCode(IntEnum):
    """Codes that this package produces (twin) or explains; pyACL returns many more."""

    SUCCESS = 0
    INVALID_PARAM = 100000
    UNINITIALIZE = 100001
    REPEAT_INITIALIZE = 100002
    INVALID_FILE = 100003
    INVALID_MODEL_ID = 100011
    REPEAT_FINALIZE = 100037
    RT_PARAM_INVALID = 107000
    RT_INVALID_DEVICEID = 107001
    RT_CONTEXT_NULL = 107002
    RT_STREAM_CONTEXT = 107003
    RT_MODEL_CONTEXT = 107004
    RT_EVENT_TIMESTAMP_INVALID = 107006
    RT_ADDR_UNALIGNED = 107008
    RT_WAIT_TIMEOUT = 107019
    RT_TASK_TIMEOUT = 107020
    GE_PARAM_INVALID = 145000
    GE_EXEC_NOT_INIT = 145001
    GE_EXEC_MODEL_PATH_INVALID = 145002
    GE_EXEC_MODEL_ID_INVALID = 145003
    GE_EXEC_MODEL_DATA_SIZE_INVALID = 145006
    GE_EXEC_MODEL_ADDR_INVALID = 145007
    GE_DYNAMIC_INPUT_ADDR_INVALID = 145011
    GE_DYNAMIC_INPUT_LENGTH_INVALID = 145012
    GE_DYNAMIC_BATCH_SIZE_INVALID = 145013
    INVALID_BUNDLE_MODEL_ID = 148053
    BAD_ALLOC = 200000
    API_NOT_SUPPORT = 200001
    RT_FEATURE_NOT_SUPPORT = 207000
    RT_MEMORY_ALLOCATION = 207001
    RT_RESOURCE_ALLOC_FAIL = 207005
    RT_NO_STREAM_RESOURCE = 207008
    RT_NO_MODEL_RESOURCE = 207010
    RT_DEVICE_OOM = 207018
    GE_MEMORY_ALLOCATION = 245000
    GE_MEMORY_OPERATE_FAILED = 245001
    GE_DEVICE_MEMORY_OPERATE_FAILED = 245002
    GE_DATA_NOT_ALIGNED = 345104
    INTERNAL_ERROR = 500000
    FAILURE = 500001
    GE_FAILURE = 500002
    RT_FAILURE = 500003
    RT_INTERNAL_ERROR = 507000
    RT_TASK_TYPE_NOT_SUPPORT = 507009
    RT_LOST_HEARTBEAT = 507010
    RT_MODEL_EXECUTE = 507011
    RT_AICORE_TIMEOUT = 507014
    RT_AICORE_EXCEPTION = 507015
    RT_AICPU_TIMEOUT = 507017
    RT_AICPU_EXCEPTION = 507018
    RT_DEV_SETUP_ERROR = 507033
    RT_STREAM_SYNC_TIMEOUT = 507046
    RT_EVENT_SYNC_TIMEOUT = 507047
    RT_DEVICE_MEM_ERROR = 507053
    RT_DRV_INTERNAL_ERROR = 507899
    GE_INTERNAL_ERROR = 545000
    GE_LOAD_MODEL = 545001
    GE_EXEC_LOAD_MODEL_PARTITION_FAILED = 545002
    GE_EXEC_LOAD_WEIGHT_PARTITION_FAILED = 545003
    GE_EXEC_LOAD_TASK_PARTITION_FAILED = 545004
    GE_EXEC_LOAD_KERNEL_PARTITION_FAILED = 545005
    GE_EXEC_UNLOAD_MODEL = 545009
    GE_MODEL_EXECUTE_TIMEOUT = 545601


_WAYS_OUT: Final = {
    AclCode.INVALID_PARAM: "an argument is out of its range",
    AclCode.UNINITIALIZE: "acl.init has not been called in this process",
    AclCode.RT_INVALID_DEVICEID: "there is no device of this number; see npu-smi info",
    AclCode.RT_CONTEXT_NULL: "this thread has no context: acl.rt.set_context first",
    AclCode.RT_STREAM_CONTEXT: "the stream belongs to another context",
    AclCode.RT_MODEL_CONTEXT: "the model was loaded in another context: use one for all",
    AclCode.GE_PARAM_INVALID: "the file is not a valid model, or a buffer is smaller than it needs",
    AclCode.GE_EXEC_NOT_INIT: "acl.init has not been called in this process",
    AclCode.GE_EXEC_MODEL_PATH_INVALID: "the model file does not exist or cannot be read",
    AclCode.GE_EXEC_MODEL_ID_INVALID: "the model is not loaded, or no longer",
    AclCode.RT_MEMORY_ALLOCATION: "device memory is exhausted",
    AclCode.RT_RESOURCE_ALLOC_FAIL: "the device is out of memory, streams or events",
    AclCode.RT_NO_STREAM_RESOURCE: "the device is out of streams: each loaded model takes some",
    AclCode.RT_DEVICE_OOM: "device memory is exhausted",
    AclCode.GE_MEMORY_ALLOCATION: "device memory is exhausted while loading or running a model",
    AclCode.GE_FAILURE: "catch-all of the graph engine; the device's own message says more",
    AclCode.RT_TASK_TYPE_NOT_SUPPORT: "model and driver or slice do not match",
    AclCode.RT_MODEL_EXECUTE: "the model failed while running",
    AclCode.RT_AICORE_EXCEPTION: "a kernel failed, often on a wrong or freed pointer",
    AclCode.RT_STREAM_SYNC_TIMEOUT: "the stream did not finish in time",
    AclCode.RT_EVENT_SYNC_TIMEOUT: "the event did not complete in time",
    AclCode.RT_DRV_INTERNAL_ERROR: "the driver failed; see dmesg and the device log",
}
_CLASSES: Final = {
    1: "wrong use",
    2: "resources exhausted or unsupported",
    3: "wrong use of storage",
    5: "internal error of the device or its software",
}


def explain_code(code: int) -> str:
    """Return the vendor's name of a return code, and what it means where that is known.

    Examples
    --------
    >>> explain_code(107002)
    'ACL_ERROR_RT_CONTEXT_NULL: this thread has no context: acl.rt.set_context first'
    >>> explain_code(207099)
    'unknown code: resources exhausted or unsupported'
    """
    try:
        known = AclCode(code)
    except ValueError:
        return f"unknown code: {_CLASSES.get(code // 100_000, 'no known class')}"
    name = "ACL_SUCCESS" if known is AclCode.SUCCESS else f"ACL_ERROR_{known.name}"
    way_out = _WAYS_OUT.get(known)
    return f"{name}: {way_out}" if way_out else name
