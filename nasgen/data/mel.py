"""Sound as an image: the log-mel spectrogram, a row a band of pitch and a column a moment.

As FSD50K's authors compute it (Fonseca et al., TASLP 2022; by torchaudio, then librosa's decibels):
frames of 30 ms each 10 ms, power, 96 bands that are equally wide on the mel scale, decibels of
which the lowest are cut off 80 below the highest, and the mean of the sound taken away.
"""

from functools import cache

import numpy as np
from jaxtyping import Float

RATE = 22_050  # samples a second
SIZE, WINDOW, HOP = 1_920, 661, 220  # samples: of a transform, of a frame, between frames
BANDS = 96
FLOOR, RANGE = 1e-10, 80.0  # the least power, and decibels that are kept


def log_mel(sound: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "bands frames"]:
    """The spectrogram of a sound of at least `SIZE // 2 + 1` samples; a frame each `HOP` of them,
    and one at its end, whose centres lie on the samples and whose borders are mirrored."""
    sound = np.pad(np.asarray(sound, np.float32), SIZE // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(sound, SIZE)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * _window(), axis=-1)))
    decibels = 10 * np.log10(np.maximum(power @ _filters(), FLOOR))
    decibels = np.maximum(decibels, decibels.max() - RANGE)
    return (decibels - decibels.mean()).T.astype(np.float32)


@cache
def _window() -> Float[np.ndarray, " samples"]:
    """A Hann window, periodic, in the middle of zeros."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    left = (SIZE - WINDOW) // 2
    return np.pad(hann, (left, SIZE - WINDOW - left)).astype(np.float32)


@cache
def _filters() -> Float[np.ndarray, "frequencies bands"]:
    """Triangles that overlap by half, of height 1, from 0 to half the rate."""
    top = RATE // 2
    frequencies = np.linspace(0, top, SIZE // 2 + 1)
    corners = _hertz(np.linspace(0, _mels(top), BANDS + 2))
    rising = (frequencies[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - frequencies[:, None]) / np.diff(corners)[1:]
    return np.maximum(np.minimum(rising, falling), 0).astype(np.float32)


def _mels(hertz: float) -> float:
    return 2595 * np.log10(1 + hertz / 700)


def _hertz(mels: Float[np.ndarray, " corners"]) -> Float[np.ndarray, " corners"]:
    return 700 * (10 ** (mels / 2595) - 1)
