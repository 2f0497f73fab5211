"""Around the file model: beginnings and ends as numbers, and a few contents to tell apart."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

SIDE_BYTES = 1024
"""Bytes from the beginning, and as many from the end."""
BLOCK_BYTES = 4096
"""Looked at on each side, before white space is left out."""
PADDING = 256


def features(content: bytes) -> Array:
    """Return the model's input, int32 (1, 2048): the beginning, then the end, padded outwards.

    >>> features(b"  ab")[0, :3].tolist(), features(b"  ab")[0, -3:].tolist()
    ([97, 98, 256], [32, 97, 98])
    """
    numbers = np.full((1, 2 * SIDE_BYTES), PADDING, np.int32)
    first = content[:BLOCK_BYTES].lstrip()[:SIDE_BYTES]
    last = content[-BLOCK_BYTES:].rstrip()[-SIDE_BYTES:]
    numbers[0, : len(first)] = list(first)
    numbers[0, 2 * SIDE_BYTES - len(last) :] = list(last)
    return numbers


def read_labels(settings: Path) -> list[str]:
    """Return the names of the model's outputs, in order."""
    labels: list[str] = json.loads(settings.read_text())["target_labels_space"]
    return labels


def samples() -> dict[str, bytes]:
    """Return what each content is -> the content, made here."""
    png = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(png, "PNG")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("readme.txt"), "the arena\n" * 40)
    rows = [{"camera": number, "text": "ARENA310", "boxes": [1, 2, 3]} for number in range(12)]
    return {
        "python": Path(__file__).read_bytes(),
        "json": json.dumps({"frames": rows}, indent=2).encode(),
        "png": png.getvalue(),
        "zip": archive.getvalue(),
        "gzip": gzip.compress(b"planned offsets " * 64, mtime=0),
    }
