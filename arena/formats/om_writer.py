"""Make .om files that parse: any sizes, either header, either table, one model or several.

    OmSpec ─► MODEL_INOUT_INFO, MODEL_DEF, WEIGHTS_DATA, TASK_INFO ─► write_layout ─► file

No compiler stands behind them, so no device can execute them; everything that reads, plans, loads
and accounts takes them for real. Fleets of declared models are rehearsed on the twin with them.
Weights stream from a seed, or are a hole in the file, so that gigabytes cost nothing to make.

References
----------
.. [1] The layouts: `om_layout`, `om_io`, `om_graph`, which read what is written here.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from arena.formats.om_encode import encode_inout, encode_model_definition, encode_tasks
from arena.formats.om_layout import (
    VERSION_NEW,
    OmHeader,
    PartitionType,
    encode_header,
    encode_table,
    table_bytes,
)
from arena.formats.om_spec import Content, OmSpec, SeededBytes
from planner.errors import UsageError

__all__ = ["Content", "OmSpec", "SeededBytes", "om_bytes", "write_layout", "write_om"]

_U32_MAX: Final = (1 << 32) - 1


def write_om(target: Path | BinaryIO, spec: OmSpec) -> None:
    """Write a model to a path, or to an open file from its position on.

    Raises
    ------
    UsageError
        The contents do not fit the 32 bits of a tiny table. Caused by the caller.
    """
    if isinstance(target, Path):
        with target.open("wb") as file:
            write_om(file, spec)
        return
    models = [_partitions(spec, SeededBytes(spec.weight_bytes, spec.seed, spec.sparse))]
    for index, size_bytes in enumerate(spec.submodel_weight_bytes, start=1):
        weights = SeededBytes(size_bytes, spec.seed + index, spec.sparse)
        models.append(_partitions(OmSpec(name=f"{spec.name}_{index}", stream_count=0), weights))
    header = OmHeader(
        version=spec.version,
        model_count=len(models),
        unknown_shapes=int(spec.unknown_shapes),
        name_bytes=spec.name.encode()[:31],
    )
    content_bytes = sum(_size(content) for model in models for _, content in model)
    # Half of what 32 bits count: room for the tables, and no need to know their size here.
    is_wide = content_bytes > _U32_MAX // 2 if spec.wide is None else spec.wide
    write_layout(target, header, models, is_wide=is_wide)


def om_bytes(spec: OmSpec) -> bytes:
    """Return a model as bytes.

    Examples
    --------
    >>> from arena.formats.om import read_om_sizes
    >>> read_om_sizes(om_bytes(OmSpec(work_bytes=90_624, weight_bytes=1_000)))
    OmSizes(work_bytes=90624, weight_bytes=1000, dynamic=False)
    """
    file = io.BytesIO()
    write_om(file, spec)
    return file.getvalue()


def write_layout(
    file: BinaryIO,
    header: OmHeader,
    models: Sequence[Sequence[tuple[int, Content]]],
    *,
    is_wide: bool,
) -> None:
    """Write a container of given partitions, from the file's position on.

    Parameters
    ----------
    file : open binary file
        Must seek where a content is sparse.
    header : OmHeader
        Its lengths are set to what is written.
    models : sequence of sequences of (partition type, content)
    is_wide : bool
        Which table, and with it which of the header's lengths.

    Raises
    ------
    UsageError
        The contents do not fit the 32 bits of a tiny table. Caused by the caller.
    """
    rows = [[(kind, _size(content)) for kind, content in model] for model in models]
    payload_bytes = sum(table_bytes(len(table), is_wide=is_wide) for table in rows)
    payload_bytes += sum(size_bytes for table in rows for _, size_bytes in table)
    if not is_wide and payload_bytes > _U32_MAX:
        raise UsageError(
            f"{payload_bytes} bytes of tables and contents, a tiny table counts to 2^32 - 1: "
            "write a wide one"
        )
    lengths = (0, payload_bytes) if is_wide else (payload_bytes, 0)
    file.write(
        encode_header(replace(header, length_bytes=lengths[0], model_length_bytes=lengths[1]))
    )
    for table, model in zip(rows, models, strict=True):
        file.write(encode_table(table, is_wide=is_wide))
        for _, content in model:
            _write_content(file, content)


def _write_content(file: BinaryIO, content: Content) -> None:
    if isinstance(content, bytes):
        file.write(content)
        return
    written = 0
    for chunk in content.chunks():
        written += file.write(chunk)
    if written < content.size_bytes:
        file.seek(content.size_bytes - written - 1, io.SEEK_CUR)
        file.write(b"\0")  # a hole at the end of a file needs something behind it


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.size_bytes


def _partitions(spec: OmSpec, weights: SeededBytes) -> list[tuple[int, Content]]:
    """Return the partitions of one model in the order that compilers use."""
    found: list[tuple[int, Content]] = []
    if spec.version >= VERSION_NEW and (spec.inputs or spec.outputs):
        found.append((PartitionType.MODEL_INOUT_INFO, encode_inout(spec)))
    found.append((PartitionType.MODEL_DEF, encode_model_definition(spec, weights.size_bytes)))
    if weights.size_bytes:
        found.append((PartitionType.WEIGHTS_DATA, weights))
    found.append((PartitionType.TASK_INFO, encode_tasks(spec, weights.size_bytes)))
    return found
