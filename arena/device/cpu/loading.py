"""What is loaded where: weights in their memory, sessions over them, instances over those.

    Instance ── work range                  one per load
        └── Resident ── weight range        one per weight memory in use: read-only, one session,
                                            shared by all loads of its payload at its pointer

A load that fails leaves nothing behind but bytes in memory that the caller gave it for weights.
"""

import ctypes
import hashlib
import itertools
import platform
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from arena.device.base import DeviceRange, Gear, ModelDescription, ModelHandle, ModelSource
from arena.device.cpu.memory import HostMemory, overlaps, protect
from arena.device.cpu.network import Network, Session
from arena.device.cpu.placement import PlannedPlacement
from arena.device.cpu.runtime import THREADS, runtime
from arena.device.cpu.streams import Task
from arena.errors import DeviceError
from arena.formats.arena_file import read_header
from arena.formats.arena_header import ALIGN_BYTES, Allocations, CompiledFor, CompiledModel
from arena.formats.source import ByteSource, open_source
from planner.errors import UsageError
from planner.units import format_bytes

__all__ = ["Instance", "LoadedModels", "Way", "opened", "this_machine"]

Choice: TypeAlias = tuple[int, ...]
"""What a gear is chosen by; empty for a model without gears."""


def this_machine() -> CompiledFor:
    """Return what a network must be compiled for to run in this process."""
    return CompiledFor(runtime().version, platform.machine(), THREADS)


@dataclass(slots=True, eq=False)
class Resident:
    """Weights in memory, and the session that uses them in place.

    Attributes
    ----------
    memory : DeviceRange
    sha256 : str
        Of the payload.
    session : Session
    owned : bool
        Whether the memory is the device's own.
    networks : mapping of CompiledModel to (the same, gear to Network)
        Shared by loads of equal headers, which differ by work memory alone.
    users : int
        Instances.
    """

    memory: DeviceRange
    sha256: str
    session: Session
    owned: bool
    networks: dict[CompiledModel, tuple[CompiledModel, dict[Choice, Network]]] = field(
        default_factory=dict
    )
    users: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """How an instance executes in one gear: its types, and where its allocations lie."""

    network: Network
    placement: PlannedPlacement


@dataclass(slots=True, eq=False)
class Instance:
    """One loaded model.

    Attributes
    ----------
    name : str
        For messages.
    model : CompiledModel
    description : ModelDescription
    ways : mapping of gear to Way
        One under the empty choice where there are no gears.
    resident : Resident
    work : DeviceRange or None
        None: the model needs none.
    owns_work : bool
        Whether that memory is the device's own.
    last : Task or None
        Its last execution.
    """

    name: str
    model: CompiledModel
    description: ModelDescription
    ways: dict[Choice, Way]
    resident: Resident
    work: DeviceRange | None
    owns_work: bool
    last: Task | None = None


class LoadedModels:
    """Every model on one device; safe from several threads.

    Attributes
    ----------
    instances : mapping of ModelHandle to Instance
    residents : mapping of pointer to Resident
    """

    def __init__(self, memory: HostMemory) -> None:
        self._memory = memory
        self._lock = threading.RLock()
        self._handles = itertools.count(1)
        self.instances: dict[ModelHandle, Instance] = {}
        self.residents: dict[int, Resident] = {}

    def load(
        self, source: ModelSource, work: DeviceRange | None, weights: DeviceRange | None
    ) -> ModelHandle:
        """Load a model; see `CpuDevice.load`. Calls back for memory: never on the main thread."""
        with opened(source) as file, self._lock, ExitStack() as undo:
            model, start = read_header(file)
            _require_this_machine(source.name, model)
            place = self._place(source.name, "work", work, model.work_bytes, undo)
            if place is not None:
                self.require_no_weights(place, f"model {source.name!r}: work memory")
            resident = self._resident(source.name, model, file, start, weights, undo)
            if model not in resident.networks:
                resident.networks[model] = model, _networks(resident.session, model)
            known, networks = resident.networks[model]
            resident.users += 1
            self.residents[resident.memory.pointer] = resident
            handle = ModelHandle(next(self._handles))
            base = 0 if place is None else place.pointer
            self.instances[handle] = Instance(
                source.name,
                known,
                _description(known),
                {
                    choice: Way(networks[choice], PlannedPlacement(base, plan.sizes, plan.offsets))
                    for choice, plan in _plans(known)
                },
                resident,
                place,
                owns_work=work is None and place is not None,
            )
            undo.pop_all()
        return handle

    def unload(self, handle: ModelHandle, instance: Instance) -> None:
        """Unload; the last instance of a session takes the session with it."""
        with self._lock:
            del self.instances[handle]
            if instance.owns_work and instance.work is not None:
                self._memory.free(instance.work)
            resident = instance.resident
            resident.users -= 1
            if resident.users == 0:
                del self.residents[resident.memory.pointer]
                resident.session.close()
                protect(resident.memory, writable=True)
                if resident.owned:
                    self._memory.free(resident.memory)

    def free(self, memory: DeviceRange) -> None:
        """Free a block, unless a model lies in it.

        Raises
        ------
        UsageError
            One does, or it is no block.
        """
        with self._lock:
            for instance in self.instances.values():
                for part in (instance.work, instance.resident.memory):
                    if part is not None and overlaps(part, memory):
                        raise UsageError(
                            f"free of {memory}: model {instance.name!r} lies in it, at {part}; "
                            "unload the model first"
                        )
            self._memory.free(memory)

    def require_no_weights(self, memory: DeviceRange, purpose: str) -> None:
        """Raise if `memory` meets weights in use.

        Raises
        ------
        DeviceError
            It does: to write there would end the process.
        """
        for resident in list(self.residents.values()):
            if overlaps(resident.memory, memory):
                raise DeviceError(
                    f"{purpose} at {memory} meets weights in use at {resident.memory}, which are "
                    "read-only: unload their models first, or plan again"
                )

    def _place(
        self, name: str, what: str, memory: DeviceRange | None, needed_bytes: int, undo: ExitStack
    ) -> DeviceRange | None:
        """Return where a part of a model lies: the caller's memory, checked, or a block of ours."""
        if memory is None:
            if needed_bytes == 0:
                return None
            memory = self._memory.alloc(needed_bytes)
            undo.callback(self._memory.free, memory)
            return memory
        if memory.size_bytes < needed_bytes:
            raise DeviceError(
                f"model {name!r}: {what} memory at {memory} has {memory.size_bytes} bytes "
                f"({format_bytes(memory.size_bytes)}), expected at least {needed_bytes}",
                call="load",
            )
        if needed_bytes == 0:
            return None
        if memory.pointer % ALIGN_BYTES:
            raise DeviceError(
                f"model {name!r}: {what} memory at {memory.pointer:#x} is not aligned, expected a "
                f"multiple of {ALIGN_BYTES}",
                call="load",
            )
        used = DeviceRange(memory.pointer, needed_bytes)
        self._memory.require(used, f"model {name!r}: {what} memory")
        return used

    def _resident(
        self,
        name: str,
        model: CompiledModel,
        file: ByteSource,
        start: int,
        weights: DeviceRange | None,
        undo: ExitStack,
    ) -> Resident:
        """Return weights at their place with an open session: shared, or read and opened."""
        memory = self._place(name, "weight", weights, model.weight_bytes, undo)
        if memory is None:
            raise DeviceError(f"model {name!r}: the file holds no network", call="load")
        resident = self.residents.get(memory.pointer)
        if resident is not None and resident.sha256 == model.payload_sha256:
            return resident
        self.require_no_weights(memory, f"model {name!r}: weight memory")
        for instance in self.instances.values():
            if instance.work is not None and overlaps(instance.work, memory):
                raise DeviceError(
                    f"model {name!r}: weight memory at {memory} meets the work memory of model "
                    f"{instance.name!r} at {instance.work}, which overwrites it",
                    call="load",
                )
        _read_payload(name, model, file, start, memory)
        undo.callback(protect, memory, writable=True)
        protect(memory, writable=False)
        try:
            session = runtime().open_session(memory.pointer, model.payload_bytes)
        except DeviceError as error:
            raise DeviceError(
                f"model {name!r}: {error}", call=error.call, code=error.code
            ) from None
        undo.callback(session.close)
        return Resident(memory, model.payload_sha256, session, owned=weights is None)


def _plans(model: CompiledModel) -> list[tuple[Choice, Allocations]]:
    """Return the allocations of each gear; without gears, of the empty choice."""
    return [(gear.choice, gear.allocations) for gear in model.gears] or [((), model.allocations)]


def _networks(session: Session, model: CompiledModel) -> dict[Choice, Network]:
    if not model.gears:
        return {(): Network(session, model.inputs, model.outputs)}
    return {gear.choice: Network(session, gear.inputs, gear.outputs) for gear in model.gears}


def _description(model: CompiledModel) -> ModelDescription:
    gears = tuple(Gear(gear.choice, gear.inputs, gear.outputs) for gear in model.gears)
    return ModelDescription(model.inputs, model.outputs, gears=gears)


def _require_this_machine(name: str, model: CompiledModel) -> None:
    if model.compiled_for != this_machine():
        raise DeviceError(
            f"model {name!r} is compiled for {model.compiled_for}, this is {this_machine()}: "
            "compile it again here (arena compile)",
            call="load",
        )


def _read_payload(
    name: str, model: CompiledModel, file: ByteSource, start: int, memory: DeviceRange
) -> None:
    """Read the payload of an open file straight into memory and compare its digest."""
    target = memoryview((ctypes.c_ubyte * model.payload_bytes).from_address(memory.pointer))
    file.read_into(start, target.cast("B"))
    if hashlib.sha256(target).hexdigest() != model.payload_sha256:
        raise DeviceError(
            f"model {name!r}: the payload is altered, its SHA-256 is not the one in the header: "
            "copy or compile the file again",
            call="load",
        )


@contextmanager
def opened(source: ModelSource) -> Iterator[ByteSource]:
    """Open the bytes of a model, from its file or from its callable.

    Raises
    ------
    DeviceError
        The file cannot be read.
    """
    content = source.path if source.read is None else source.read()
    assert content is not None, "a source has a path or reads"
    try:
        with open_source(content, source.name) as file:
            yield file
    except OSError as error:
        raise DeviceError(
            f"model {source.name!r}: cannot read {source.path}: {error.strerror}",
            call="open",
            code=error.errno or 0,
        ) from error
