"""The macro language: round trips, refusals, features."""

import numpy as np
import pytest

from nasgen.models import macro_language as language
from nasgen.models.macro_language import Vocabulary
from nasgen.spaces import macro as macro_space
from nasgen.types import MAX_CELLS, Budget, MacroArchitecture, Stage, Task

VOCABULARY = Vocabulary(num_clusters=5, max_stages=6)


def random_macro(rng):
    while True:
        stages = []
        for _ in range(rng.integers(1, VOCABULARY.max_stages + 1)):
            cluster, stride = int(rng.integers(VOCABULARY.num_clusters)), int(rng.integers(1, 3))
            stages.append(Stage(cluster, _width(rng), stride, int(rng.integers(1, 5))))
        if sum(stage.repeats for stage in stages) <= MAX_CELLS:
            return MacroArchitecture(tuple(stages), _width(rng))


def _width(rng):
    return 8 * int(rng.integers(1, 129))


def test_round_trip():
    rng = np.random.default_rng(0)
    macros = [random_macro(rng) for _ in range(200)]
    tokens = language.encode_batch(macros, VOCABULARY)
    assert tokens.shape == (200, VOCABULARY.length) and tokens.max() < VOCABULARY.size
    assert [language.decode(row, VOCABULARY) for row in tokens] == macros
    assert macro_space.unpack(language.decode_batch(tokens, VOCABULARY)) == macros
    assert len(np.unique(tokens, axis=0)) == len(set(macros))


def test_blocks_cover_the_ids_once():
    # Every id is one token: the first and last value of each block, written down by hand.
    macro = MacroArchitecture((Stage(0, 8, 1, 1), Stage(4, 1024, 2, 4)), 1024)
    tokens = language.encode(macro, VOCABULARY)
    # clusters 0-4, END 5, channels 6-133, strides 134-135, repeats 136-139, final 140-267
    assert tokens[:10].tolist() == [0, 6, 134, 136, 4, 133, 135, 139, 5, 267]
    assert (tokens[10:] == language.PAD).all()
    assert VOCABULARY.size == 268


GOOD = Stage(0, 16, 1, 1)


@pytest.mark.parametrize(
    ("macro", "word"),
    [
        (MacroArchitecture((), 8), "stages"),
        (MacroArchitecture((GOOD,) * 7, 8), "stages"),
        (MacroArchitecture((GOOD._replace(cluster=5),), 8), "cluster"),
        (MacroArchitecture((GOOD._replace(channels=12),), 8), "channels"),
        (MacroArchitecture((GOOD._replace(channels=1032),), 8), "channels"),
        (MacroArchitecture((GOOD._replace(stride=3),), 8), "stride"),
        (MacroArchitecture((GOOD._replace(repeats=0),), 8), "repeats"),
        (MacroArchitecture((GOOD._replace(repeats=4),) * 5, 8), "cells"),
        (MacroArchitecture((GOOD,), 0), "final_width"),
    ],
)
def test_encode_refuses(macro, word):
    with pytest.raises(ValueError, match=f"`{word}` must be"):
        language.encode(macro, VOCABULARY)


def test_decode_refuses_what_is_no_sentence():
    tokens = language.encode(MacroArchitecture((GOOD,) * 2, 8), VOCABULARY)
    without_end = tokens[:8]
    misplaced = np.delete(tokens, 3)
    no_final_width = np.where(tokens >= VOCABULARY.final_widths, language.PAD, tokens)
    swapped = tokens.copy()
    swapped[[1, 2]] = swapped[[2, 1]]
    trailing = tokens.copy()
    trailing[-1] = 0
    for broken in (without_end, misplaced, no_final_width, swapped, trailing):
        with pytest.raises(ValueError, match="must"):
            language.decode(broken, VOCABULARY)


def test_context_features():
    cifar = Task("cifar10", (32, 32, 3), 10)
    bare = language.context_features(cifar)
    assert bare.shape == (language.NUM_FEATURES,) and bare.dtype == np.float32
    np.testing.assert_array_equal(bare[language.TASK_FEATURES :], 0)
    # 316,228 params are 10^5.5, and the flag behind them is up; nothing else changes.
    with_params = language.context_features(cifar, Budget(params=316_228))
    changed = np.flatnonzero(with_params != bare)
    first = language.TASK_FEATURES
    np.testing.assert_allclose(with_params[first : first + 2], [0, 1], atol=1e-5)
    assert set(changed) <= {first, first + 1}
    np.testing.assert_allclose(language.context_features(cifar, None, -1.25)[-4:-2], [-1.25, 1])
    np.testing.assert_allclose(language.context_features(cifar, accuracy=0.5)[-2:], [0.5, 1])
    # 31,623 steps of training are 10^4.5.
    trained = language.context_features(cifar, steps=31_623)
    np.testing.assert_allclose(trained[-6:-4], [1, 1], atol=1e-4)
    dense = language.context_features(cifar._replace(kind="segmentation"))
    np.testing.assert_array_equal(np.flatnonzero(dense - bare), [6])
    large = Task("imagenet", (224, 224, 3), 1000, stem_stride=2)
    asked = dict(quality=2.0, accuracy=-2.0, steps=10**5)
    large = language.context_features(large, Budget(10**7, 10**9, 10**8, 30.0), **asked)
    assert np.abs(large).max() <= 3
    same = np.flatnonzero(large == bare)
    assert set(same) == {2, 5, 6, 7}  # channels and kind
    with pytest.raises(ValueError, match="`budget.macs` must be positive"):
        language.context_features(cifar, Budget(macs=0))
    with pytest.raises(ValueError, match="`steps` must be positive"):
        language.context_features(cifar, steps=0)


def test_unknown_words_are_not_said():
    task = Task("toy", (8, 8, 3), 10, kind="segmentation")
    said = language.context_features(task, Budget(params=100, latency_ms=2.0), 1.0, steps=50)
    found = {
        w
        for w, known in zip(language.WORDS, language.words_of(said[None])[0], strict=True)
        if known
    }
    assert found == {"dense", "params", "latency_ms", "steps", "quality"}
    known = [word in ("params", "macs", "quality") for word in language.WORDS]
    kept = language.keep_words(said[None], known)[0]
    plain = language.context_features(task._replace(kind="classification"), Budget(params=100), 1.0)
    np.testing.assert_array_equal(kept, plain)
