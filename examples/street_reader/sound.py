"""Around the voice model: three signals made here, and the state that the model carries along.

No recording is needed: vowels out of a pulse train and four resonators are speech enough.

References
----------
.. [1] G. Fant, "Acoustic Theory of Speech Production", 1960: a source, filtered by formants.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.signal import lfilter

Array = np.ndarray[Any, Any]

RATE_HZ = 16_000
CHUNK = 512
"""Samples that one execution adds; the 64 before them are given again."""
CONTEXT = 64
SPEECH_MIN = 0.5

FORMANTS_HZ = {
    "a": ((730, 90), (1090, 110), (2440, 170), (3500, 250)),
    "e": ((530, 70), (1840, 100), (2480, 170), (3500, 250)),
    "i": ((270, 60), (2290, 100), (3010, 170), (3700, 250)),
    "o": ((570, 70), (840, 90), (2410, 170), (3400, 250)),
    "u": ((300, 60), (870, 90), (2240, 160), (3400, 250)),
}
"""Vowel -> resonances and their bandwidths."""


def silence(seconds: float = 1.0) -> Array:
    """Return the noise of a quiet room."""
    random = np.random.default_rng(0)
    return random.normal(0, 1e-3, int(seconds * RATE_HZ)).astype(np.float32)


def tone(seconds: float = 1.0) -> Array:
    """Return a plain tone of 440 Hz."""
    times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def speech(vowels: str = "aeioua") -> Array:
    """Return vowels as a voice would speak them, 0.23 s each."""
    random = np.random.default_rng(0)
    parts = []
    for number, vowel in enumerate(vowels):
        n = int(0.18 * RATE_HZ)
        pitch_hz = 130 + 30 * np.sin(np.linspace(0, 3, n) + number) + random.normal(0, 1, n)
        cycles = np.cumsum(pitch_hz / RATE_HZ)
        voice = lfilter([1], [1, -0.97], np.diff(np.floor(cycles), prepend=0))
        for centre_hz, width_hz in FORMANTS_HZ[vowel]:
            radius = np.exp(-np.pi * width_hz / RATE_HZ)
            poles = [1, -2 * radius * np.cos(2 * np.pi * centre_hz / RATE_HZ), radius**2]
            voice = lfilter([sum(poles)], poles, voice)
        parts += [0.4 * voice / abs(voice).max() * np.sqrt(np.hanning(n))]
        parts += [random.normal(0, 0.01, int(0.05 * RATE_HZ))]
    return np.concatenate(parts).astype(np.float32)


def chunks(signal: Array) -> Iterator[Array]:
    """Yield inputs (1, CONTEXT + CHUNK): each chunk behind the end of the one before."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), signal])
    for start in range(0, len(signal) - CHUNK + 1, CHUNK):
        yield padded[None, start : start + CONTEXT + CHUNK].copy()


def first_state() -> Array:
    """Return what the model remembers before it has heard anything."""
    return np.zeros((2, 1, 128), np.float32)


def is_speech(probabilities: Array) -> bool:
    """Return whether most chunks of a signal were heard as speech."""
    return bool((probabilities > SPEECH_MIN).mean() > 0.5)
