"""What an .om file is and says: the values that `om` reads."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from arena.formats.om_layout import ModelTable, OmHeader, PartitionType, find_partition
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.source import Span
from planner.model import TensorSpec

__all__ = [
    "AIPP_INPUT",
    "GEARS_INPUT",
    "NOTES",
    "UNSIZED",
    "MemorySegment",
    "OmFile",
    "OmKind",
    "OmSizes",
]

GEARS_INPUT: Final = "ascend_mbatch_shape_data"
"""The input that gears add; the run time fills it (CANN: aclmdlSetDynamicBatchSize)."""
AIPP_INPUT: Final = "ascend_dynamic_aipp_data"
"""The input that dynamic preprocessing adds; the run time fills it."""


class OmKind(StrEnum):
    """What an .om file is."""

    STATIC = "static"
    DYNAMIC = "dynamic"
    FLOW = "flow"
    BUNDLE = "bundle"
    OM2 = "om2"
    ENCRYPTED = "encrypted"


NOTES: Final = {
    OmKind.FLOW: "a flow model has no memory of its own; its sub-models load themselves",
    OmKind.BUNDLE: "a bundle holds whole models and loads by calls of its own: plan its models "
    "as files of their own",
    OmKind.OM2: "an OM2 package (ZIP) is not read yet: compile to .om, or declare work and weights",
    OmKind.ENCRYPTED: "the model is encrypted: declare work and weights, or decrypt it first",
}
UNSIZED: Final = frozenset({OmKind.BUNDLE, OmKind.OM2, OmKind.ENCRYPTED})


@dataclass(frozen=True, slots=True)
class OmSizes:
    """What the vendor's size query returns, bytes, and whether it takes the model for dynamic."""

    work_bytes: int
    weight_bytes: int
    dynamic: bool


@dataclass(frozen=True, slots=True)
class MemorySegment:
    """A part of the work memory as the compiler cut it.

    Attributes
    ----------
    memory_type : int
        2 is device memory.
    offset_bytes, size_bytes : int
    fixed : bool
        The compiler wants its address never to change (constants, collectives).
    """

    memory_type: int
    offset_bytes: int
    size_bytes: int
    fixed: bool


@dataclass(frozen=True, slots=True)
class OmFile:
    """Everything that is read of an .om file. Sizes are bytes.

    Attributes
    ----------
    kind : OmKind
    file_bytes : int
    header : OmHeader or None
        None for an OM2 package, which has none.
    tables : tuple of ModelTable
        Partitions of every model in the file; the root model first. Empty for packages and
        encrypted files.
    work_bytes, weight_bytes : int
        What loading with memory asks for. Both 0 where `note` says that the file has no sizes.
    name, soc, arch, compiler : str
        From the model: its name, the chip, and the version of the compiler (ATC, else of the
        operator library). Empty where the file does not tell.
    stream_count, event_count, label_count : int
        Taken from the device by each loaded instance, summed over the models in the file.
    zero_copy_bytes : int
        Tail of the work memory that input and output buffers replace; of the root model.
    p2p_bytes, session_scope_bytes, variable_bytes, kernel_bytes : int
        Device memory outside work and weights, summed over the models in the file.
    inputs, outputs : tuple of TensorSpec
    gears : Gears or None
        The shapes that one has to be chosen of before each execution.
    segments : tuple of MemorySegment
        Of the root model; empty in files of older compilers.
    """

    kind: OmKind
    file_bytes: int
    header: OmHeader | None = None
    tables: tuple[ModelTable, ...] = ()
    work_bytes: int = 0
    weight_bytes: int = 0
    name: str = ""
    soc: str = ""
    arch: str = ""
    compiler: str = ""
    stream_count: int = 0
    event_count: int = 0
    label_count: int = 0
    zero_copy_bytes: int = 0
    p2p_bytes: int = 0
    session_scope_bytes: int = 0
    variable_bytes: int = 0
    kernel_bytes: int = 0
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    gears: Gears | None = None
    segments: tuple[MemorySegment, ...] = ()

    @property
    def dynamic(self) -> bool:
        """True if shapes are known only when the model runs."""
        return self.kind is OmKind.DYNAMIC

    @property
    def system_managed(self) -> bool:
        """True if the device takes the memory of this model itself, whatever pointers it gets."""
        return self.kind in (OmKind.DYNAMIC, OmKind.FLOW)

    @property
    def hidden_inputs(self) -> tuple[str, ...]:
        """Names of inputs that the run time fills."""
        return tuple(spec.name for spec in self.inputs if spec.name in (GEARS_INPUT, AIPP_INPUT))

    @property
    def fixed_segments(self) -> tuple[MemorySegment, ...]:
        """Segments whose address must never change."""
        return tuple(segment for segment in self.segments if segment.fixed)

    @property
    def choices(self) -> str:
        """What the model wants chosen before each execution, in words; empty if nothing."""
        wanted = [str(self.gears)] if self.gears else []
        if AIPP_INPUT in self.hidden_inputs:
            wanted.append("dynamic preprocessing (AIPP)")
        return "; ".join(wanted)

    @property
    def gear_choices(self) -> tuple[tuple[int, ...], ...]:
        """The gears that one is chosen of; none if the file does not tell or wants more."""
        if self.gears is None or AIPP_INPUT in self.hidden_inputs:
            return ()
        return self.gears.choices if self.gears.kind is not GearsKind.UNKNOWN else ()

    @property
    def note(self) -> str:
        """Why the file has no sizes of its own; empty if it has."""
        return NOTES.get(self.kind, "")

    @property
    def weight_spans(self) -> tuple[Span, ...]:
        """Where the weights are in the file: WEIGHTS_DATA of every model, in order."""
        return tuple(
            partition.span
            for table in self.tables
            if (partition := find_partition(table, PartitionType.WEIGHTS_DATA)) is not None
        )
