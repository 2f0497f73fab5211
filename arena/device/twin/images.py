"""Model files as the twin loads them: what a file asks for, and where its weights lie in it."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from arena.device.acl_codes import AclCode
from arena.device.twin.binding import CallFailed
from arena.device.twin.memory import Span
from arena.errors import FormatError
from arena.formats.om import OmFile, OmKind, OmSizes, read_om, read_om_sizes
from arena.formats.om_layout import PartitionType
from arena.formats.source import ByteSource, open_source

__all__ = [
    "Content",
    "ImageCache",
    "ModelImage",
    "copy_weights",
    "query_sizes",
]

Content: TypeAlias = "str | memoryview"
"""A path, or the bytes of a model in host memory."""

_CACHED_FILES_MAX: Final = 256
_IDENTIFYING: Final = (PartitionType.MODEL_DEF, PartitionType.TASK_INFO)


@dataclass(frozen=True, slots=True)
class ModelImage:
    """One parsed model file.

    Attributes
    ----------
    om : OmFile
    identity : bytes
        Digest of everything but the weights: what makes two models compute differently.
    """

    om: OmFile
    identity: bytes


def query_sizes(content: Content) -> OmSizes:
    """Return what the vendor's size query returns for a model."""
    with _opened(content) as source:
        return read_om_sizes(source)


def copy_weights(content: Content, image: ModelImage, target: Span) -> None:
    """Copy the whole weights into device memory, as every load does."""
    with _opened(content) as source:
        at = 0
        for start, end in image.om.weight_spans:
            source.read_into(start, target.view[at : at + end - start])
            at += end - start


class ImageCache:
    """Parsed files, so that loading one file a thousand times reads its graph once."""

    def __init__(self) -> None:
        self._images: dict[tuple[str, int, int, int], ModelImage] = {}

    def read(self, content: Content) -> ModelImage:
        """Return the image of a model that can be loaded, or fail with the vendor's code."""
        if isinstance(content, memoryview):
            return _read_image(content)
        try:
            status = Path(content).stat()
        except OSError as error:
            raise CallFailed(AclCode.GE_EXEC_MODEL_PATH_INVALID, str(error)) from None
        key = (os.path.realpath(content), status.st_ino, status.st_mtime_ns, status.st_size)
        image = self._images.get(key)
        if image is None:
            image = _read_image(content)
            while len(self._images) >= _CACHED_FILES_MAX:
                self._images.pop(next(iter(self._images)), None)
            self._images[key] = image
        return image


def _read_image(content: Content) -> ModelImage:
    with _opened(content) as source:
        om = read_om(source)
        if om.kind not in (OmKind.STATIC, OmKind.DYNAMIC, OmKind.FLOW):
            raise CallFailed(AclCode.GE_PARAM_INVALID, om.note)
        identity = hashlib.blake2b(f"{om.work_bytes} {om.weight_bytes}".encode(), digest_size=16)
        for table in om.tables:
            for partition in table:
                if partition.type in _IDENTIFYING:
                    identity.update(source.view(*partition.span))
        return ModelImage(om, identity.digest())


@contextmanager
def _opened(content: Content) -> Iterator[ByteSource]:
    try:
        with open_source(Path(content) if isinstance(content, str) else content) as source:
            yield source
    except OSError as error:
        raise CallFailed(AclCode.GE_EXEC_MODEL_PATH_INVALID, str(error)) from None
    except FormatError as error:
        raise CallFailed(AclCode.GE_PARAM_INVALID, str(error)) from None
