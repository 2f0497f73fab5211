"""Around the text models: pixels to tensors, a map to boxes, a matrix to a word.

    scene ──► detector ──► map ──► boxes ──► crop ──► classifier ──► turned ──► recogniser ──► word

References
----------
.. [1] M. Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", 2020: the
       map is cut at a threshold, its areas are grown by area * ratio / perimeter.
.. [2] A. Graves et al., "Connectionist Temporal Classification", 2006: the best path, repeats
       merged, blanks left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

Array = np.ndarray[Any, Any]

MAP_THRESHOLD = 0.3
BOX_SCORE_MIN = 0.5
GROWTH_RATIO = 1.6
SIDE_PIXELS_MIN = 3
TURNED_MIN = 0.9
"""Surer than this that a line is on its head, and it is turned."""
CLASSIFIER_PIXELS = (192, 48)
READER_PIXELS = (320, 48)
BLANK = 0


@dataclass(frozen=True)
class Box:
    """Pixels [left, right) x [top, bottom) that hold a line of text."""

    left: int
    top: int
    right: int
    bottom: int


def tensor_of(pixels: Array) -> Array:
    """Return pixels as the models want them: float32 (1, 3, height, width) in [-1, 1], blue first.

    >>> tensor_of(np.full((2, 4, 3), 255, np.uint8)).shape
    (1, 3, 2, 4)
    """
    scaled = pixels[:, :, ::-1].astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def line_tensor(pixels: Array, size: tuple[int, int]) -> Array:
    """Return a line of text at a model's width and height: scaled to the height, zeros behind."""
    width, height = size
    own = min(width, max(1, round(height * pixels.shape[1] / pixels.shape[0])))
    resized = Image.fromarray(pixels).resize((own, height), Image.Resampling.BILINEAR)
    tensor = np.zeros((1, 3, height, width), np.float32)
    tensor[..., :own] = tensor_of(np.asarray(resized))
    return tensor


def find_boxes(score_map: Array) -> list[Box]:
    """Return the lines of text in a detector's map (height, width), from the top down."""
    height, width = score_map.shape
    mask = ndimage.binary_dilation(score_map > MAP_THRESHOLD, np.ones((2, 2), bool))
    areas, _ = ndimage.label(mask, np.ones((3, 3), int))
    boxes = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(areas), start=1):
        inside = areas[rows, columns] == index
        if score_map[rows, columns][inside].mean() < BOX_SCORE_MIN:
            continue
        tall, wide = inside.shape
        if min(tall, wide) < SIDE_PIXELS_MIN:
            continue
        grow = round(tall * wide * GROWTH_RATIO / (2 * (tall + wide)))
        boxes.append(
            Box(
                left=max(0, columns.start - grow),
                top=max(0, rows.start - grow),
                right=min(width, columns.stop + grow),
                bottom=min(height, rows.stop + grow),
            )
        )
    return sorted(boxes, key=lambda box: (box.top, box.left))


def crop(pixels: Array, box: Box) -> Array:
    """Return the pixels of a box."""
    return np.ascontiguousarray(pixels[box.top : box.bottom, box.left : box.right])


def upright(pixels: Array, probabilities: Array) -> Array:
    """Return a line the right way up, as the classifier's (upright, on its head) tells."""
    return np.ascontiguousarray(pixels[::-1, ::-1]) if probabilities[1] > TURNED_MIN else pixels


def read_alphabet(model: Path) -> list[str]:
    """Return the characters of a recogniser, out of its own metadata: index 0 is the blank."""
    import onnx

    properties = {item.key: item.value for item in onnx.load(model).metadata_props}
    return ["", *properties["character"].splitlines(), " "]


def decode(steps: Array, alphabet: Sequence[str]) -> str:
    """Return the text of the best path through (steps, characters).

    >>> decode(np.eye(3)[[1, 1, 0, 1, 2]], ["", "a", "b"])
    'aab'
    """
    best = steps.argmax(axis=1)
    before = np.concatenate(([BLANK], best[:-1]))
    return "".join(alphabet[k] for k in best[(best != before) & (best != BLANK)])
