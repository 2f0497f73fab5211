"""The C functions of ONNX Runtime that the CPU device uses, typed and checked; nothing else.

The `onnxruntime` wheel ships its C library beside its Python module. The library exports one
symbol, OrtGetApiBase; from there comes a table of functions that only ever grows at its end, so an
index never changes its meaning. The Python module links a copy of its own: sessions that an
application opens there and sessions opened here do not see each other.

ctypes releases the interpreter lock around every call and takes it for every callback.
"""

import ctypes
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from arena.errors import DeviceError

__all__ = [
    "ALLOCATE",
    "DTYPE_CODES",
    "FREE",
    "INFO",
    "WAY_OUT",
    "Api",
    "OrtAllocator",
    "OrtApiBase",
    "load_api",
    "runtime_library",
]

API_VERSION: Final = 20
"""The version of the function table that is asked for; libraries answer for all older ones."""
VERSION_MIN: Final = (1, 20)
"""The first wheel whose library is a file of its own (1.17.3 has none; measured)."""
WAY_OUT: Final = "install it with: pip install 'npu-arena[cpu]'"
"""The end of errors about what is not there."""

_P = ctypes.c_void_p
_N = ctypes.c_size_t
_I = ctypes.c_int
_S = ctypes.c_char_p

ALLOCATE: Final = ctypes.CFUNCTYPE(_P, _P, _N)
FREE: Final = ctypes.CFUNCTYPE(None, _P, _P)
INFO: Final = ctypes.CFUNCTYPE(_P, _P)

DTYPE_CODES: Final[Mapping[str, int]] = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
}
"""numpy's name of an element type -> ONNXTensorElementDataType."""

# name -> (index in OrtApi, parameter types). Every one returns a status: 0, or an error object.
_CALLS: Final[Mapping[str, tuple[int, tuple[Any, ...]]]] = {
    "CreateEnv": (3, (_I, _S, _P)),
    "CreateSessionFromArray": (8, (_P, _P, _N, _P, _P)),
    "Run": (9, (_P, _P, _P, _P, _N, _P, _N, _P)),
    "CreateSessionOptions": (10, (_P,)),
    "SetOptimizedModelFilePath": (11, (_P, _S)),
    "SetSessionExecutionMode": (13, (_P, _I)),
    "DisableMemPattern": (17, (_P,)),
    "DisableCpuMemArena": (19, (_P,)),
    "SetSessionGraphOptimizationLevel": (23, (_P, _I)),
    "SetIntraOpNumThreads": (24, (_P, _I)),
    "SetInterOpNumThreads": (25, (_P, _I)),
    "SessionGetInputCount": (30, (_P, _P)),
    "SessionGetOutputCount": (31, (_P, _P)),
    "SessionGetInputTypeInfo": (33, (_P, _N, _P)),
    "SessionGetOutputTypeInfo": (34, (_P, _N, _P)),
    "SessionGetInputName": (36, (_P, _N, _P, _P)),
    "SessionGetOutputName": (37, (_P, _N, _P, _P)),
    "CreateTensorWithDataAsOrtValue": (49, (_P, _P, _N, _P, _N, _I, _P)),
    "CastTypeInfoToTensorInfo": (55, (_P, _P)),
    "GetTensorElementType": (60, (_P, _P)),
    "GetDimensionsCount": (61, (_P, _P)),
    "GetDimensions": (62, (_P, _P, _N)),
    "GetTensorTypeAndShape": (65, (_P, _P)),
    "CreateCpuMemoryInfo": (69, (_I, _I, _P)),
    "AllocatorFree": (76, (_P, _P)),
    "GetAllocatorWithDefaultOptions": (78, (_P,)),
    "AddSessionConfigEntry": (130, (_P, _S, _S)),
    "RegisterAllocator": (176, (_P, _P)),
}
# name -> index. Every one takes the object that it releases and returns nothing.
_RELEASES: Final[Mapping[str, int]] = {
    "ReleaseStatus": 93,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseTypeInfo": 98,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "ReleaseSessionOptions": 100,
}
_STATUS: Final[Mapping[str, tuple[int, Any]]] = {
    "CreateStatus": (0, ctypes.CFUNCTYPE(_P, _I, _S)),
    "GetErrorCode": (1, ctypes.CFUNCTYPE(_I, _P)),
    "GetErrorMessage": (2, ctypes.CFUNCTYPE(_S, _P)),
}


class OrtApiBase(ctypes.Structure):
    """What OrtGetApiBase points to."""

    _fields_ = (
        ("GetApi", ctypes.CFUNCTYPE(_P, ctypes.c_uint32)),
        ("GetVersionString", ctypes.CFUNCTYPE(_P)),
    )


class OrtAllocator(ctypes.Structure):
    """An allocator that the runtime calls back; members after Reserve may be 0."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("Alloc", ALLOCATE),
        ("Free", FREE),
        ("Info", INFO),
        ("Reserve", ALLOCATE),
        ("GetStats", _P),
        ("AllocOnStream", _P),
        ("Shrink", _P),
    )


class Api:
    """The function table of one loaded library.

    ``api["Run"](...)`` calls a function by its C name; a call that fails raises `DeviceError` with
    the runtime's message and code. Handles and pointers are integers.

    Parameters
    ----------
    base : OrtApiBase
        What the library's only export returned.

    Raises
    ------
    DeviceError
        The library is too old, or its table is not the one that this module describes.

    References
    ----------
    .. [1] ONNX Runtime, include/onnxruntime/core/session/onnxruntime_c_api.h, struct OrtApi:
           "functions are only added at the end". Indices counted in the header of version 1.32 and
           run on 1.20.1, 1.23.2, 1.24.4 and 1.32.0.
    """

    def __init__(self, base: OrtApiBase) -> None:
        self.version = ctypes.string_at(base.GetVersionString()).decode()
        found = re.match(r"(\d+)\.(\d+)", self.version)
        if found is None or (int(found[1]), int(found[2])) < VERSION_MIN:
            raise DeviceError(
                f"found ONNX Runtime {self.version}, expected 1.20 or later; {WAY_OUT}",
                call="OrtGetApiBase",
            )
        table = base.GetApi(API_VERSION)
        if not table:
            raise DeviceError(
                f"ONNX Runtime {self.version} offers no function table of version {API_VERSION}",
                call="GetApi",
            )
        self._table = ctypes.cast(table, ctypes.POINTER(_P))
        self._status = {
            name: prototype(self._entry(name, index))
            for name, (index, prototype) in _STATUS.items()
        }
        self._functions: dict[str, Callable[..., None]] = {
            name: ctypes.CFUNCTYPE(None, _P)(self._entry(name, index))
            for name, index in _RELEASES.items()
        }
        self._check_round_trip()
        for name, (index, parameters) in _CALLS.items():
            function = ctypes.CFUNCTYPE(_P, *parameters)(self._entry(name, index))
            function.errcheck = self._raiser(name)
            self._functions[name] = function

    def __getitem__(self, name: str) -> Callable[..., None]:
        return self._functions[name]

    def create(self, name: str, *arguments: object) -> int:
        """Call a function whose last parameter receives a pointer, and return that pointer."""
        made = _P()
        self._functions[name](*arguments, ctypes.byref(made))
        return made.value or 0

    def count(self, name: str, *arguments: object) -> int:
        """Call a function whose last parameter receives a size_t, and return that number."""
        counted = _N()
        self._functions[name](*arguments, ctypes.byref(counted))
        return counted.value

    def _entry(self, name: str, index: int) -> int:
        address = self._table[index]
        if not address:
            raise DeviceError(
                f"ONNX Runtime {self.version}: entry {index} of the function table ({name}) is "
                "empty; this is not the library that the binding describes",
                call="GetApi",
            )
        return int(address)

    def _check_round_trip(self) -> None:
        """Send a harmless value through the table: shifted entries would not return it."""
        code, text = 2, b"round trip"
        status = self._status["CreateStatus"](code, text)
        found = self._status["GetErrorCode"](status), self._status["GetErrorMessage"](status)
        self._functions["ReleaseStatus"](status)
        if found != (code, text):
            raise DeviceError(
                f"ONNX Runtime {self.version}: a status made of {(code, text)} reads {found}; the "
                "function table is not the one that the binding describes",
                call="CreateStatus",
            )

    def _raiser(self, name: str) -> Any:
        def raise_status(status: int | None, _function: object, _arguments: object) -> None:
            if not status:
                return
            code = self._status["GetErrorCode"](status)
            message = self._status["GetErrorMessage"](status).decode("utf-8", "replace")
            self._functions["ReleaseStatus"](status)
            raise DeviceError(f"{name} failed with code {code}: {message}", call=name, code=code)

        return raise_status


def runtime_library() -> Path:
    """Return the C library that the installed `onnxruntime` package ships.

    Raises
    ------
    DeviceError
        The package is not installed, or ships no library of its own (older than 1.20).
    """
    package = find_spec("onnxruntime")
    if package is None or not package.submodule_search_locations:
        raise DeviceError(f"the CPU device needs ONNX Runtime 1.20 or later; {WAY_OUT}")
    folder = Path(package.submodule_search_locations[0]) / "capi"
    for pattern in ("libonnxruntime.so.*", "libonnxruntime.*.dylib", "onnxruntime.dll"):
        for library in sorted(folder.glob(pattern)):
            return library
    raise DeviceError(
        f"{folder} holds no ONNX Runtime library: its wheels do from version 1.20 on; {WAY_OUT}"
    )


@cache
def load_api() -> Api:
    """Return the function table of the installed runtime, loaded once per process."""
    library = ctypes.CDLL(str(runtime_library()))
    library.OrtGetApiBase.restype = ctypes.POINTER(OrtApiBase)
    return Api(library.OrtGetApiBase().contents)
