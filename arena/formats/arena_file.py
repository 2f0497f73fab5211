r"""The .arena file: a network compiled for the CPU device. Bytes to values and back.

    offset  bytes  what
         0      8  magic: 89 41 52 45 4e 41 0d 0a (``\x89ARENA\r\n``)
         8      4  version of the format, little-endian (1; 2 with gears)
        12      4  bytes of the header, H
        16     32  SHA-256 of the header
        48     16  zeros
        64      H  header: one JSON object, UTF-8, keys sorted
         ?      ?  zeros up to the next multiple of 64
         ?      P  payload: the optimised graph in ONNX Runtime's own format, to the end of the file

The header tells everything that planning asks, so sizes are read without touching the payload; it
holds the payload's digest, so its own digest covers all. The allocations of one execution are kept
with their lifetimes: the plan inside the file is judged again by every reader.

A file that passes is complete and unaltered, not harmless: its payload is a program.
"""

import hashlib
from typing import Final

from arena.formats.arena_header import (
    ALIGN_BYTES,
    CompiledModel,
    HeaderError,
    decode_header,
    encode_header,
)
from arena.formats.source import ByteSource, ModelInput, open_source
from planner.model import ModelSize
from planner.units import align_up

__all__ = ["MAGIC", "VERSION", "encode", "gears_text", "model_size", "read_header", "read_model"]

MAGIC: Final = b"\x89ARENA\r\n"
VERSION: Final = 1
VERSION_GEARS: Final = 2
"""Of files with gears; all others stay readable for programs that know no gears."""
PREFIX_BYTES: Final = 64
HEADER_BYTES_MAX: Final = 4 << 20
"""Some 50,000 allocations; real networks make a few hundred."""


def encode(model: CompiledModel, payload: bytes) -> bytes:
    """Return the file of `model`: the same model and payload give the same bytes."""
    assert len(payload) == model.payload_bytes
    header = encode_header(model)
    version = VERSION_GEARS if model.gears else VERSION
    prefix = MAGIC + version.to_bytes(4, "little") + len(header).to_bytes(4, "little")
    prefix += hashlib.sha256(header).digest()
    start = align_up(PREFIX_BYTES + len(header), ALIGN_BYTES)
    return (prefix.ljust(PREFIX_BYTES, b"\0") + header).ljust(start, b"\0") + payload


def read_header(source: ByteSource) -> tuple[CompiledModel, int]:
    """Return the header of a .arena file and the position of its payload.

    Of the payload not a byte is read; that it is all there is checked.

    Raises
    ------
    FormatError
        The file is no .arena file, of another version, truncated, altered, or its plan is invalid.
    """
    total = source.size_bytes
    prefix = bytes(source.view(0, min(total, PREFIX_BYTES)))
    if not prefix or prefix[: len(MAGIC)] != MAGIC[: len(prefix)]:
        raise source.refuse(
            0, f"found {prefix[: len(MAGIC)]!r}, expected {MAGIC!r}: this is no .arena file"
        )
    if len(prefix) < PREFIX_BYTES:
        raise source.refuse(
            total, f"the file ends after {total} bytes, expected a prefix of {PREFIX_BYTES}"
        )
    version = int.from_bytes(prefix[8:12], "little")
    if version not in (VERSION, VERSION_GEARS):
        raise source.refuse(
            8,
            f"format version {version}, expected {VERSION} or {VERSION_GEARS}: compile the model "
            "again",
        )
    length = int.from_bytes(prefix[12:16], "little")
    if length > HEADER_BYTES_MAX:
        raise source.refuse(
            12, f"the header has {length} bytes, expected at most {HEADER_BYTES_MAX}"
        )
    if any(prefix[48:]):
        raise source.refuse(48, "found bytes other than zero in the unused end of the prefix")
    end = PREFIX_BYTES + length
    start = align_up(end, ALIGN_BYTES)
    if total < start:
        raise source.refuse(
            total, f"the file ends after {total} bytes, expected the payload at {start}"
        )
    header = bytes(source.view(PREFIX_BYTES, end))
    if hashlib.sha256(header).digest() != prefix[16:48]:
        raise source.refuse(PREFIX_BYTES, "the header is altered: its SHA-256 differs")
    try:
        model = decode_header(header)
    except HeaderError as error:
        raise source.refuse(PREFIX_BYTES, str(error)) from None
    if bool(model.gears) != (version == VERSION_GEARS):
        raise source.refuse(8, f"format version {version}, but {len(model.gears)} gears")
    if any(source.view(end, start)):
        raise source.refuse(end, "found bytes other than zero before the payload")
    if total != start + model.payload_bytes:
        raise source.refuse(
            total, f"the file has {total} bytes, expected {start + model.payload_bytes}"
        )
    return model, start


def read_model(file: ModelInput) -> CompiledModel:
    """Return the header of a .arena file; see `read_header`."""
    with open_source(file) as source:
        return read_header(source)[0]


def model_size(model: CompiledModel, file_sha256: str) -> ModelSize:
    """Return a model's sizes and identity for the planner.

    Parameters
    ----------
    file_sha256 : str
        Of the whole file; empty where nobody asked.
    """
    return ModelSize(
        work_bytes=model.work_bytes,
        weight_bytes=model.weight_bytes,
        file_digest=file_sha256,
        weights_digest=model.payload_sha256 if file_sha256 else "",
        inputs=model.inputs,
        outputs=model.outputs,
        gears=gears_text(model),
        gear_choices=tuple(gear.choice for gear in model.gears),
    )


def gears_text(model: CompiledModel) -> str:
    """Return what one chooses of before each execution; empty without gears."""
    choices = ("x".join(map(str, gear.choice)) for gear in model.gears)
    return f"gears: {', '.join(choices)}" if model.gears else ""
