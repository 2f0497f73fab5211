"""Real networks inside planned memory: ONNX Runtime through its C API, no compiler needed.

binding     the C functions that are used, typed and checked against the running version
placement   who answers an allocation: the plan, a trace, or the heap
network     a loaded graph: its tensors, and one execution of it
runtime     one environment per process, its allocator, sessions
memory      blocks of host memory, accounted in pages; read-only weights
streams     ordered worker threads and events
arguments   host buffers, checked
loading     what is loaded where
device      the device port on top of them
payload     the runtime's own model format, put into one order
shapes      fixed input shapes; why shapes would depend on data
compile     ONNX file -> .arena file
"""

from arena.device.cpu.compile import compile_model, compiled_demo, compiled_path, onnx_facts
from arena.device.cpu.device import CpuDevice

__all__ = ["CpuDevice", "compile_model", "compiled_demo", "compiled_path", "onnx_facts"]
