"""Log-mel spectrograms: pitch, loudness and time lie where they should."""

import numpy as np
import pytest

from nasgen.data.mel import BANDS, HOP, RATE, SIZE, WINDOW, log_mel

TIME = np.arange(RATE) / RATE
NOISE = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)


def test_a_second_is_96_bands_of_101_moments_around_0():
    found = log_mel(NOISE)
    assert found.shape == (BANDS, RATE // HOP + 1) == (96, 101)
    assert found.dtype == np.float32 and abs(found.mean()) < 1e-4


@pytest.mark.parametrize("hertz", [220, 1000, 4000, 9000])
def test_a_tone_lies_in_its_band(hertz):
    found = log_mel(np.sin(2 * np.pi * hertz * TIME))
    mels = 2595 * np.log10(1 + hertz / 700) / (2595 * np.log10(1 + RATE // 2 / 700))
    wanted = mels * (BANDS + 1) - 1  # the band whose middle is there
    assert np.abs(found[:, 5:-5].argmax(0) - wanted).max() <= 1


def test_loudness_does_not_matter_and_time_does():
    np.testing.assert_allclose(log_mel(NOISE), log_mel(NOISE * 7), atol=1e-3)
    silent = np.where(TIME < 0.5, 0, NOISE)
    found = log_mel(silent).mean(0)
    assert found[:45].max() < found[55:].min()
    assert log_mel(silent).max() - log_mel(silent).min() <= 80.001  # decibels


def test_it_is_what_the_words_say():
    """Frame by frame, and triangles by interpolation, in float64."""
    hann = np.zeros(SIZE)
    left = (SIZE - WINDOW) // 2
    hann[left : left + WINDOW] = np.sin(np.pi * np.arange(WINDOW) / WINDOW) ** 2
    padded = np.pad(NOISE.astype(np.float64), SIZE // 2, mode="reflect")
    frames = [padded[start : start + SIZE] * hann for start in range(0, RATE + 1, HOP)]
    power = np.abs(np.fft.rfft(frames)) ** 2
    corners = np.linspace(0, 2595 * np.log10(1 + RATE // 2 / 700), BANDS + 2)
    corners = 700 * (10 ** (corners / 2595) - 1)
    frequencies = np.fft.rfftfreq(SIZE, 1 / RATE)
    bands = [np.interp(frequencies, corners[i : i + 3], [0, 1, 0], 0, 0) for i in range(BANDS)]
    wanted = 10 * np.log10(np.maximum(power @ np.array(bands).T, 1e-10))
    found = log_mel(NOISE).T
    np.testing.assert_allclose(found - found.mean(), wanted - wanted.mean(), atol=2e-2)
