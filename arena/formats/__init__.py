"""Model files: bytes in, values out. Which format a file has, and the same facts of each format.

A format is a row of `FORMATS`: how its files start, and what reads them. Opening fleets and plans
belongs to `files`; running models to `device`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, TypeAlias

from arena.formats import arena_file
from arena.formats.digest import Digests, Progress, digest_model, file_digest
from arena.formats.om import OmFile, OmKind, model_size, read_om
from arena.formats.om_layout import MAGIC, ModelType
from arena.formats.source import ByteSource, ModelInput, open_source
from planner.model import ModelSize

__all__ = ["FORMATS", "Detail", "ModelFacts", "ModelFormat", "format_of", "read_model_facts"]

Detail: TypeAlias = "int | str | tuple[Detail, ...]"
"""A value that prints and that JSON holds."""

_HEAD_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file tells without a device, whatever its format.

    Attributes
    ----------
    file : str
        As it was given; empty for bytes without a name.
    format : str
        ``om``, ``om-flow``, ``om-bundle``, ``om2``, ``om-encrypted``, or another row's name.
    work_bytes, weight_bytes : int
        0 where `note` says that the file has no sizes of its own.
    file_sha256, weights_sha256 : str
        Hex; `weights_sha256` is empty where there are no weight bytes, both where nobody asked.
    dynamic : bool
        Shapes are known only when the model runs.
    soc : str
        The chip that it was compiled for; empty where the file does not tell.
    size : ModelSize or None
        For the planner; None where the file cannot be planned, and `note` says why.
    note : str
        What is special about the file; empty mostly.
    details : tuple of (name, value)
        What this format tells beyond the above.
    """

    file: str
    format: str
    work_bytes: int
    weight_bytes: int
    weights_sha256: str
    file_sha256: str
    dynamic: bool
    soc: str
    size: ModelSize | None
    note: str = ""
    details: tuple[tuple[str, Detail], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """One row of the table.

    Attributes
    ----------
    name : str
    claims : callable
        (first 256 bytes or fewer, suffix in lower case with its dot) -> True if the file has this
        format, intact or damaged: then `read` says what is wrong with it.
    read : callable
        (source, whether to hash, progress) -> facts. Heavy imports belong inside it.
    """

    name: str
    claims: Callable[[bytes, str], bool]
    read: Callable[[ByteSource, bool, Progress | None], ModelFacts]


def format_of(source: ByteSource) -> ModelFormat:
    """Return the format of a file, by its first bytes and its suffix.

    Raises
    ------
    FormatError
        No row claims it. The model file, or the caller who named it, is at fault.
    """
    head = bytes(source.view(0, min(_HEAD_BYTES, source.size_bytes)))
    suffix = PurePath(source.name).suffix.lower()
    for row in FORMATS:
        if row.claims(head, suffix):
            return row
    known = ", ".join(row.name for row in FORMATS)
    raise source.refuse(
        0,
        f"found {head[:8]!r}, expected a model file of a known format: {known}, or onnx, which is "
        "known by its suffix .onnx",
    )


def read_model_facts(
    file: ModelInput,
    name: str = "",
    *,
    with_digests: bool = True,
    progress: Progress | None = None,
) -> ModelFacts:
    """Return the facts of a model file.

    Parameters
    ----------
    file : path, bytes, open binary file, or ByteSource
    name : str
        For messages and `ModelFacts.file`, where `file` is not a path.
    with_digests : bool
        False: read kilobytes only, and leave the digests empty.
    progress : callable, optional
        Follows the hashing: (bytes done, bytes in all).

    Raises
    ------
    FormatError
        Damaged, or of no known format. The model file is at fault.
    OSError
        The path cannot be read. Caused by the caller.
    """
    with open_source(file, name) as source:
        return format_of(source).read(source, with_digests, progress)


def _claims_om(head: bytes, suffix: str) -> bool:
    """Return True for the magic, for bundles (which have none), and for the suffixes."""
    is_bundle = head[:4] == bytes(4) and head[82:83] == bytes([ModelType.BUNDLE])
    return head[:4] == MAGIC.to_bytes(4, "little") or is_bundle or suffix in (".om", ".om2")


_OM_NAMES: Final = {
    OmKind.STATIC: "om",
    OmKind.DYNAMIC: "om",
    OmKind.FLOW: "om-flow",
    OmKind.BUNDLE: "om-bundle",
    OmKind.OM2: "om2",
    OmKind.ENCRYPTED: "om-encrypted",
}


def _read_om_facts(source: ByteSource, with_digests: bool, progress: Progress | None) -> ModelFacts:
    om = read_om(source)
    digests = digest_model(source, om.weight_spans, progress) if with_digests else Digests("", "")
    has_sizes = om.kind not in (OmKind.BUNDLE, OmKind.OM2, OmKind.ENCRYPTED)
    return ModelFacts(
        file=source.name,
        format=_OM_NAMES[om.kind],
        work_bytes=om.work_bytes,
        weight_bytes=om.weight_bytes,
        weights_sha256=digests.weights_sha256,
        file_sha256=digests.file_sha256,
        dynamic=om.dynamic,
        soc=om.soc,
        size=model_size(om, digests) if has_sizes else None,
        note=om.note,
        details=_om_details(om),
    )


def _om_details(om: OmFile) -> tuple[tuple[str, Detail], ...]:
    """Return what only .om files tell, in the order in which people ask."""
    numbers: dict[str, Detail] = {
        "file_bytes": om.file_bytes,
        "zero_copy_bytes": om.zero_copy_bytes,
        "p2p_bytes": om.p2p_bytes,
        "session_scope_bytes": om.session_scope_bytes,
        "variable_bytes": om.variable_bytes,
        "kernel_bytes": om.kernel_bytes,
        "streams": om.stream_count,
        "events": om.event_count,
        "labels": om.label_count,
    }
    texts: dict[str, Detail] = {
        "name": om.name,
        "compiler": om.compiler,
        "arch": om.arch,
        "gears": om.choices,
        "hidden_inputs": om.hidden_inputs,
        "fixed_segments": tuple(
            (segment.offset_bytes, segment.size_bytes) for segment in om.fixed_segments
        ),
        "partitions": tuple(tuple(map(str, table)) for table in om.tables),
        "inputs": tuple((t.name, t.dtype, t.shape, t.size_bytes) for t in om.inputs),
        "outputs": tuple((t.name, t.dtype, t.shape, t.size_bytes) for t in om.outputs),
    }
    header = {"header_version": f"{om.header.version:#x}"} if om.header else {}
    return tuple({**header, **numbers, **texts}.items())


def _claims_arena(head: bytes, suffix: str) -> bool:
    return head.startswith(arena_file.MAGIC) or suffix == ".arena"


def _read_arena_facts(
    source: ByteSource, with_digests: bool, progress: Progress | None
) -> ModelFacts:
    model, _ = arena_file.read_header(source)
    size = arena_file.model_size(model, file_digest(source, progress) if with_digests else "")
    details: dict[str, Detail] = {
        "file_bytes": source.size_bytes,
        "allocations": len(model.allocations.sizes),
        "lower_bound_bytes": model.lower_bound_bytes,
        "optimisation": model.compiled_from.optimisation,
        "source_sha256": model.compiled_from.sha256,
        "gears": arena_file.gears_text(model),
        "inputs": tuple((t.name, t.dtype, t.shape, t.size_bytes) for t in model.inputs),
        "outputs": tuple((t.name, t.dtype, t.shape, t.size_bytes) for t in model.outputs),
    }
    return ModelFacts(
        file=source.name,
        format="arena",
        work_bytes=size.work_bytes,
        weight_bytes=size.weight_bytes,
        weights_sha256=size.weights_digest,
        file_sha256=size.file_digest,
        dynamic=False,
        soc=f"{model.compiled_for.machine}/onnxruntime-{model.compiled_for.runtime}",
        size=size,
        details=tuple(details.items()),
    )


FORMATS: Final = (
    ModelFormat("om", _claims_om, _read_om_facts),
    ModelFormat("arena", _claims_arena, _read_arena_facts),
)
