"""Read an .om file without CANN: its sizes as the vendor's query computes them, and what it says.

    header ─► tables ─► WEIGHTS_DATA lengths = weight_bytes      TASK_INFO field 11 = work_bytes
                   └──► MODEL_INOUT_INFO, else the root graph = inputs, outputs, gears
                   └──► MODEL_DEF attributes = soc, versions, streams, other memory

Weights are never read here: `digest` hashes them when somebody asks. `read_om_sizes` stops at the
first line of that picture and refuses what the query refuses; `read_om` reads all of it.

References
----------
.. [1] hicann/ge @ffdcbc9f7, runtime/v1/graph/load/model_manager/model_manager.cc
       (GetModelMemAndWeightSize), base/common/helper/model_parser_base.cc (ParseModelContent).
.. [2] graph_metadef/proto/task.proto (ModelTaskDef).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from arena.errors import FormatError
from arena.formats.digest import Digests
from arena.formats.om_graph import ModelDefinition, read_model_definition
from arena.formats.om_io import InOutInfo, read_inout
from arena.formats.om_layout import (
    HEADER_BYTES,
    MAGIC,
    ModelTable,
    ModelType,
    OmHeader,
    PartitionType,
    decode_header,
    find_partition,
    read_tables,
)
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.protobuf import VARINT, Budget, WireReader
from arena.formats.source import ByteSource, ModelInput, Span, open_source
from planner.model import ModelSize, TensorSpec
from planner.units import BYTES_MAX

__all__ = [
    "AIPP_INPUT",
    "GEARS_INPUT",
    "MemorySegment",
    "OmFile",
    "OmKind",
    "OmSizes",
    "model_size",
    "read_om",
    "read_om_sizes",
]

GEARS_INPUT: Final = "ascend_mbatch_shape_data"
"""The input that gears add; the run time fills it (CANN: aclmdlSetDynamicBatchSize)."""
AIPP_INPUT: Final = "ascend_dynamic_aipp_data"
"""The input that dynamic preprocessing adds; the run time fills it."""

_ZIP_MAGIC: Final = b"PK\x03\x04"
_LFS_MAGIC: Final = b"version https://git-lfs"
_MEMORY_SIZE_FIELD: Final = 11
_TASK_BYTES_MAX: Final = (1 << 31) - 1  # the query hands the length to protobuf as an int32


class OmKind(StrEnum):
    """What an .om file is."""

    STATIC = "static"
    DYNAMIC = "dynamic"
    FLOW = "flow"
    BUNDLE = "bundle"
    OM2 = "om2"
    ENCRYPTED = "encrypted"


_NOTES: Final = {
    OmKind.FLOW: "a flow model has no memory of its own; its sub-models load themselves",
    OmKind.BUNDLE: "a bundle holds whole models and loads by calls of its own: plan its models "
    "as files of their own",
    OmKind.OM2: "an OM2 package (ZIP) is not read yet: compile to .om, or declare work and weights",
    OmKind.ENCRYPTED: "the model is encrypted: declare work and weights, or decrypt it first",
}
_UNSIZED: Final = frozenset({OmKind.BUNDLE, OmKind.OM2, OmKind.ENCRYPTED})


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
    def note(self) -> str:
        """Why the file has no sizes of its own; empty if it has."""
        return _NOTES.get(self.kind, "")

    @property
    def weight_spans(self) -> tuple[Span, ...]:
        """Where the weights are in the file: WEIGHTS_DATA of every model, in order."""
        return tuple(
            partition.span
            for table in self.tables
            if (partition := find_partition(table, PartitionType.WEIGHTS_DATA)) is not None
        )


def read_om_sizes(file: ModelInput, name: str = "") -> OmSizes:
    """Return what the vendor's size query returns for this file, reading no more than it needs.

    Raises
    ------
    FormatError
        The query refuses the file too. The model file is at fault.
    OSError
        The path cannot be read. Caused by the caller.

    Notes
    -----
    Reads header, tables and the fields of TASK_INFO: kilobytes, whatever the file's size.
    """
    with open_source(file, name) as source:
        kind, header = _read_kind(source)
        if header is None or kind in _UNSIZED:
            raise source.refuse(0, _NOTES[kind])
        budget = Budget()
        tables = read_tables(source, header, budget)
        return _sizes(source, header, tables, budget)


def read_om(file: ModelInput, name: str = "") -> OmFile:
    """Return everything that is read of an .om file; its weights stay unread.

    Parameters
    ----------
    file : path, bytes, open binary file, or ByteSource
    name : str
        For messages, where `file` is not a path.

    Raises
    ------
    FormatError
        The file is damaged or is no .om file; the message names offset, found and expected. The
        model file is at fault. Flow models, bundles, OM2 packages and encrypted files are no error:
        their kind and `note` say what they are.
    OSError
        The path cannot be read. Caused by the caller.
    """
    with open_source(file, name) as source:
        kind, header = _read_kind(source)
        if header is None or kind is OmKind.ENCRYPTED:
            return OmFile(kind, source.size_bytes, header)
        budget = Budget()
        tables = read_tables(source, header, budget)
        if kind is OmKind.BUNDLE:
            return OmFile(kind, source.size_bytes, header, tables)
        sizes = _sizes(source, header, tables, budget)
        return _describe(source, kind, header, tables, sizes, budget)


def model_size(om: OmFile, digests: Digests | None = None) -> ModelSize:
    """Return what the planner needs to know of a file.

    Parameters
    ----------
    om : OmFile
    digests : Digests or None
        Of the same file; without them the model has no identity to share weights by.

    Raises
    ------
    FormatError
        The file has no sizes (bundle, OM2 package, encrypted). The model file is at fault.
    """
    if om.kind in _UNSIZED:
        raise FormatError(om.note)
    return ModelSize(
        work_bytes=om.work_bytes,
        weight_bytes=om.weight_bytes,
        file_digest=digests.file_sha256 if digests else "",
        weights_digest=digests.weights_sha256 if digests else "",
        system_managed=om.system_managed,
        stream_count=om.stream_count,
        inputs=om.inputs,
        outputs=om.outputs,
        gears=om.choices,
    )


def _read_kind(source: ByteSource) -> tuple[OmKind, OmHeader | None]:
    """Return what the file is, and its header once that is judged."""
    start = bytes(source.view(0, min(HEADER_BYTES, source.size_bytes)))
    if start.startswith(_LFS_MAGIC):
        raise source.refuse(
            0, "found a Git LFS pointer, expected the model itself: run git lfs pull"
        )
    if start.startswith(_ZIP_MAGIC):
        return OmKind.OM2, None
    if len(start) < HEADER_BYTES:
        raise source.refuse(
            0, f"the file has {len(start)} bytes, expected a header of {HEADER_BYTES} and a model"
        )
    header = decode_header(start)
    expected_bytes = source.size_bytes - HEADER_BYTES
    if header.magic == 0 and header.model_type == ModelType.BUNDLE:
        # Bundles are written without magic and count their header in their length.
        expected_bytes = source.size_bytes
    elif header.magic != MAGIC:
        raise source.refuse(0, f"found {start[:4]!r}, expected b'IMOD': not an .om file")
    elif header.header_bytes != HEADER_BYTES:
        raise source.refuse(4, f"header of {header.header_bytes} bytes, expected {HEADER_BYTES}")
    if header.payload_bytes != expected_bytes:
        at = 184 if header.model_length_bytes else 76
        raise source.refuse(
            at,
            f"the header claims {header.payload_bytes} bytes, expected {expected_bytes}: "
            "truncated or damaged",
        )
    return _kind_of(header), header


def _kind_of(header: OmHeader) -> OmKind:
    if header.encrypted == 1:
        return OmKind.ENCRYPTED
    if header.model_type == ModelType.BUNDLE:
        return OmKind.BUNDLE
    if header.is_dynamic:
        return OmKind.DYNAMIC
    return OmKind.FLOW if header.model_type == ModelType.FLOW else OmKind.STATIC


def _sizes(
    source: ByteSource, header: OmHeader, tables: Sequence[ModelTable], budget: Budget
) -> OmSizes:
    """Return the pair that the vendor's query computes from tables and TASK_INFO."""
    if not tables:
        raise source.refuse(156, "the header counts 0 models, expected at least 1")
    if not header.is_dynamic and len(tables[0]) == 1:
        raise source.refuse(
            HEADER_BYTES,
            f"the only partition is {tables[0][0]}: a graph to simulate, not an executable model",
        )
    weights = (find_partition(table, PartitionType.WEIGHTS_DATA) for table in tables)
    weight_bytes = sum(partition.size_bytes for partition in weights if partition)
    work_bytes = 0 if header.is_dynamic else _memory_size(source, tables[0], budget)
    return OmSizes(work_bytes, weight_bytes, header.is_dynamic)


def _memory_size(source: ByteSource, table: ModelTable, budget: Budget) -> int:
    """Return field 11 of TASK_INFO; 0 where the field or the partition is absent."""
    tasks = find_partition(table, PartitionType.TASK_INFO)
    if tasks is None:
        return 0
    if tasks.size_bytes > _TASK_BYTES_MAX:
        raise source.refuse(tasks.start, f"{tasks}, expected at most {_TASK_BYTES_MAX} bytes")
    memory_size = 0
    for number, wire, value, at in WireReader(source, *tasks.span, budget).fields(*tasks.span):
        if (number, wire) == (_MEMORY_SIZE_FIELD, VARINT):
            if value > BYTES_MAX:
                raise source.refuse(at, f"work memory of {value} bytes, expected at most 2^62")
            memory_size = value
    return memory_size


def _describe(
    source: ByteSource,
    kind: OmKind,
    header: OmHeader,
    tables: tuple[ModelTable, ...],
    sizes: OmSizes,
    budget: Budget,
) -> OmFile:
    """Return the file with what its models say of themselves."""
    definitions = [
        read_model_definition(WireReader(source, *partition.span, budget))
        for table in tables
        if (partition := find_partition(table, PartitionType.MODEL_DEF)) is not None
    ]
    ends = _read_inout(source, tables[0], definitions, budget)
    root = definitions[0].attributes if definitions else None
    return OmFile(
        kind=kind,
        file_bytes=source.size_bytes,
        header=header,
        tables=tables,
        work_bytes=sizes.work_bytes,
        weight_bytes=sizes.weight_bytes,
        name=(definitions[0].name if definitions else "") or header.name,
        soc=_first_text(definitions, "soc_version"),
        arch=_first_text(definitions, "arch_type"),
        compiler=_first_text(definitions, "atc_version", "opp_version"),
        stream_count=_total(definitions, "stream_num"),
        event_count=_total(definitions, "event_num"),
        label_count=_total(definitions, "label_num"),
        zero_copy_bytes=root.amount("zero_copy_memory_size") if root else 0,
        p2p_bytes=_total(definitions, "p2p_memory_size"),
        session_scope_bytes=_total(definitions, "session_scope_memory_size"),
        variable_bytes=_total(definitions, "variable_size"),
        kernel_bytes=sum(
            partition.size_bytes
            for table in tables
            for partition in table
            if partition.type == PartitionType.TBE_KERNELS
        ),
        inputs=ends.inputs,
        outputs=ends.outputs,
        gears=ends.gears,
        segments=tuple(
            MemorySegment(row[0], row[1], row[2], len(row) > 3 and row[3] != 0)
            for row in (root.rows("sub_memory_info") if root else ())
            if len(row) >= 3
        ),
    )


def _read_inout(
    source: ByteSource,
    table: ModelTable,
    definitions: Sequence[ModelDefinition],
    budget: Budget,
) -> InOutInfo:
    """Return inputs, outputs and gears: from their own partition, else from the root graph."""
    partition = find_partition(table, PartitionType.MODEL_INOUT_INFO)
    if partition is not None:
        info = read_inout(source, partition.span, budget)
    elif definitions:
        ends = definitions[0].ends()
        info = InOutInfo(ends.inputs, ends.outputs, ends.gears)
    else:
        info = InOutInfo()
    if info.gears is None and any(spec.name == GEARS_INPUT for spec in info.inputs):
        # The input alone proves that a choice is wanted, whatever the choices are.
        return InOutInfo(info.inputs, info.outputs, Gears(GearsKind.UNKNOWN))
    return info


def _first_text(definitions: Sequence[ModelDefinition], *names: str) -> str:
    """Return the first text that a model has under one of the names, in their order."""
    found = (definition.attributes.text(name) for name in names for definition in definitions)
    return next((text for text in found if text), "")


def _total(definitions: Sequence[ModelDefinition], name: str) -> int:
    """Return the sum of an attribute over the models in the file."""
    return sum(definition.attributes.amount(name) for definition in definitions)
