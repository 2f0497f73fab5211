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
from typing import Final

from arena.errors import FormatError
from arena.formats.digest import Digests
from arena.formats.om_file import (
    AIPP_INPUT,
    GEARS_INPUT,
    NOTES,
    UNSIZED,
    MemorySegment,
    OmFile,
    OmKind,
    OmSizes,
)
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
from arena.formats.source import ByteSource, ModelInput, open_source
from planner.model import ModelSize
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

_ZIP_MAGIC: Final = b"PK\x03\x04"
_LFS_MAGIC: Final = b"version https://git-lfs"
_MEMORY_SIZE_FIELD: Final = 11
_TASK_BYTES_MAX: Final = (1 << 31) - 1  # the query hands the length to protobuf as an int32


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
        if header is None or kind in UNSIZED:
            raise source.refuse(0, NOTES[kind])
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
    if om.kind in UNSIZED:
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
        gear_choices=om.gear_choices,
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
