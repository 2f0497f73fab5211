"""Street scenes drawn on the spot: images whose text is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Array = np.ndarray[Any, Any]

SCENE_PIXELS = 320
"""Width and height of a scene: what the detector was compiled for."""

COLOURS = ((24, 78, 160), (20, 110, 60), (150, 30, 30), (40, 40, 48))


@dataclass(frozen=True)
class Scene:
    """What a camera looks at.

    Attributes
    ----------
    texts : sequence of str
        On signs, from the top down; at most three.
    on_its_head : bool
        Whether the camera hangs the wrong way round.
    """

    texts: Sequence[str]
    on_its_head: bool = False


SCENES: dict[int, tuple[Scene, ...]] = {
    0: (Scene(["ARENA310"]), Scene([]), Scene(["ARENA310", "HELLO 73"])),
    1: (Scene(["PLAN 4096"]), Scene(["PLAN 4096", "MEMORY8K"]), Scene([])),
    2: (Scene(["HELLO 73"], on_its_head=True), Scene(["HELLO 73"]), Scene([])),
    3: (Scene(["MEMORY8K", "ARENA310", "PLAN 4096"]), Scene([]), Scene(["MEMORY8K"])),
}
"""Camera -> what it sees, frame by frame, over and over: no sign, one, or several."""


def draw(scene: Scene, seed: int) -> Array:
    """Return a scene as pixels, uint8 (SCENE_PIXELS, SCENE_PIXELS, 3), red first."""
    random = np.random.default_rng(seed)
    sky = np.linspace(150, 205, SCENE_PIXELS)[:, None, None]
    noise = random.normal(0, 3, (SCENE_PIXELS, SCENE_PIXELS, 3))
    image = Image.fromarray(np.clip(sky + noise, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(34)
    for row, text in enumerate(scene.texts):
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        x = (SCENE_PIXELS - (right - left)) // 2 + int(random.integers(-12, 13))
        y = 40 + 90 * row + int(random.integers(-6, 7))
        plate = (x - 14, y - 10, x + right - left + 14, y + bottom - top + 14)
        pen.rounded_rectangle(plate, 8, fill=COLOURS[(row + seed) % len(COLOURS)])
        pen.text((x - left, y - top), text, font=font, fill=(250, 250, 250))
    if scene.on_its_head:
        image = image.rotate(180)
    return np.asarray(image)
