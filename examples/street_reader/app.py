"""The application: a thread for each camera, one for the microphone, one for files.

Each thread opens frames of its channel and runs steps in them; the arena's guard lets two of them
at the same memory never. A camera's frame reads as many lines as it shows: none, one or several.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import content, signs, sound, text

Array = np.ndarray[Any, Any]


class Frame(Protocol):
    """What is used of `arena.frames.Frame`."""

    def run(self, step: str, inputs: object = None) -> dict[str, Any]:
        """Execute a step."""
        ...


class Fleet(Protocol):
    """What is used of `arena.fleet.Fleet`."""

    def frame(self, channel: str) -> Any:
        """Wait for a place and return the channel's next frame."""
        ...


@dataclass(frozen=True)
class Meaning:
    """What the numbers that models return stand for."""

    alphabet: Sequence[str]
    file_types: Sequence[str]


@dataclass(frozen=True)
class Reading:
    """One frame of one camera: what was on its signs, and what was read."""

    camera: int
    frame: int
    shown: tuple[str, ...]
    read: tuple[str, ...]


@dataclass(frozen=True)
class Corner:
    """What the whole application saw and heard.

    Attributes
    ----------
    readings : tuple of Reading
        By frame and camera.
    heard : mapping of signal to bool
        Whether it was taken for speech.
    file_types : mapping of true type to the type that was recognised
    """

    readings: tuple[Reading, ...]
    heard: dict[str, bool]
    file_types: dict[str, str]


def run(
    fleet: Fleet, meaning: Meaning, frames: int, on_frame: Callable[[], object] = bool
) -> Corner:
    """Run `frames` frames of every camera beside the microphone and the files."""
    cameras = sorted(signs.SCENES)
    with ThreadPoolExecutor(len(cameras) + 2, thread_name_prefix="street") as pool:
        watching = [pool.submit(watch, fleet, meaning, k, frames, on_frame) for k in cameras]
        listening = pool.submit(listen, fleet)
        sniffing = pool.submit(sniff, fleet, meaning)
        readings = [reading for future in watching for reading in future.result()]
        return Corner(
            readings=tuple(sorted(readings, key=lambda item: (item.frame, item.camera))),
            heard=listening.result(),
            file_types=sniffing.result(),
        )


def watch(
    fleet: Fleet, meaning: Meaning, camera: int, frames: int, on_frame: Callable[[], object]
) -> list[Reading]:
    """Read the signs of one camera, frame by frame."""
    readings = []
    for number in range(frames):
        scene = signs.SCENES[camera][number % len(signs.SCENES[camera])]
        pixels = signs.draw(scene, seed=10 * number + camera)
        words = read_signs(fleet, meaning, f"camera[{camera}]", pixels)
        readings.append(Reading(camera, number, tuple(scene.texts), tuple(words)))
        on_frame()
    return readings


def read_signs(fleet: Fleet, meaning: Meaning, channel: str, pixels: Array) -> list[str]:
    """Return the lines of text in one image: one frame, its steps as often as it has lines.

    The steps of a frame go forward only, so all lines are classified before the first is read.
    """
    with fleet.frame(channel) as frame:
        (score_map,) = frame.run("detect", text.tensor_of(pixels)).values()
        lines = [text.crop(pixels, box) for box in text.find_boxes(score_map[0, 0])]
        turned = []
        for line in lines:
            tensor = text.line_tensor(line, text.CLASSIFIER_PIXELS)
            (probabilities,) = frame.run("classify", tensor).values()
            turned.append(text.upright(line, probabilities[0]))
        words = []
        for line in turned:
            (steps,) = frame.run("read", text.line_tensor(line, text.READER_PIXELS)).values()
            words.append(text.decode(steps[0], meaning.alphabet))
    return [word for word in words if word]


def listen(fleet: Fleet) -> dict[str, bool]:
    """Return signal -> whether it is speech; a frame for each chunk, the state carried along."""
    heard = {}
    for name, signal in (
        ("silence", sound.silence()),
        ("tone", sound.tone()),
        ("speech", sound.speech()),
    ):
        state, probabilities = sound.first_state(), []
        for chunk in sound.chunks(signal):
            with fleet.frame("microphone[0]") as frame:
                outputs = frame.run("listen", {"input": chunk, "state": state})
            state = outputs["stateN"]
            probabilities.append(float(outputs["output"][0, 0]))
        heard[name] = sound.is_speech(np.array(probabilities))
    return heard


def sniff(fleet: Fleet, meaning: Meaning) -> dict[str, str]:
    """Return true type -> recognised type of a few contents."""
    found = {}
    for name, data in content.samples().items():
        with fleet.frame("files[0]") as frame:
            (scores,) = frame.run("sniff", content.features(data)).values()
        found[name] = meaning.file_types[int(scores[0].argmax())]
    return found
