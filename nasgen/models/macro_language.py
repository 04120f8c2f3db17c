"""The language of macro architectures: tokens, the request that precedes them, and their rules.

A macro architecture is a sentence: for every stage `cluster, channels, stride, repeats`, then END,
then the final width. All tokens share one range of ids, a block a kind:

    clusters 0..K-1 | END | channels 8..1024 | strides 1, 2 | repeats 1..4 | final widths 8..1024

so the place of a token in a sentence tells its kind: at `4 i` a cluster or END, at `4 i + 1`
channels or (after END) the final width, at `4 i + 2` a stride, at `4 i + 3` repeats. Sentences have
`vocabulary.length` places; the unused ones hold `PAD`.

Which tokens may come next in a sentence that is being written is said by `macro_rules`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from nasgen.types import (
    CHANNEL_STEP,
    MAX_CELLS,
    MAX_CHANNELS,
    MAX_REPEATS,
    Budget,
    MacroArchitecture,
    MacroBatch,
    Stage,
    Task,
)

PAD = -1
STRIDES = (1, 2)
NUM_WIDTHS = MAX_CHANNELS // CHANNEL_STEP
STAGE_TOKENS = 4  # cluster, channels, stride, repeats

# Places in the vector of `context_features`: those of the task, then (value, presence) pairs.
KINDS = ("multi-label", "dense", "regression")  # of tasks, beside classification
_NUMBERS = 5  # of a task, before the flags of its kind
TASK_FEATURES = _NUMBERS + len(KINDS)
QUALITIES = ("quality", "accuracy")  # in standard deviations
OPTIONAL_FEATURES = (*Budget._fields, "steps", *QUALITIES)
WORDS = (*KINDS, *OPTIONAL_FEATURES)  # what a request may say, or not
NUM_FEATURES = TASK_FEATURES + 2 * len(OPTIONAL_FEATURES)
# log10 of a middling value, to subtract: 300 k params, 30 M MACs, 3 MB of activations, 3 ms, 3,000
# steps of training.
_MIDDLING = {
    "params": 5.5,
    "macs": 7.5,
    "activation_memory": 6.5,
    "latency_ms": 0.5,
    "steps": 3.5,
}


class Vocabulary(NamedTuple):
    """The ids of the language; each property is the first id of a block (`size`: one past all)."""

    num_clusters: int
    max_stages: int = 10

    @property
    def end(self) -> int:
        return self.num_clusters

    @property
    def channels(self) -> int:
        return self.end + 1

    @property
    def strides(self) -> int:
        return self.channels + NUM_WIDTHS

    @property
    def repeats(self) -> int:
        return self.strides + len(STRIDES)

    @property
    def final_widths(self) -> int:
        return self.repeats + MAX_REPEATS

    @property
    def size(self) -> int:
        return self.final_widths + NUM_WIDTHS

    @property
    def length(self) -> int:
        """Places in a padded sentence."""
        return STAGE_TOKENS * self.max_stages + 2


def _check(name: str, value: int, allowed: range) -> None:
    if value not in allowed:
        step = f" in steps of {allowed.step}" if allowed.step > 1 else ""
        raise ValueError(f"`{name}` must be in {allowed[0]}..{allowed[-1]}{step}; got {value}.")


def check_macro(macro: MacroArchitecture, vocabulary: Vocabulary) -> None:
    """Raises `ValueError` where `macro` breaks a rule of the language."""
    widths = range(CHANNEL_STEP, MAX_CHANNELS + 1, CHANNEL_STEP)
    _check("stages", len(macro.stages), range(1, vocabulary.max_stages + 1))
    for stage in macro.stages:
        _check("cluster", stage.cluster, range(vocabulary.num_clusters))
        _check("channels", stage.channels, widths)
        _check("stride", stage.stride, range(1, 3))
        _check("repeats", stage.repeats, range(1, MAX_REPEATS + 1))
    _check("cells", sum(stage.repeats for stage in macro.stages), range(1, MAX_CELLS + 1))
    _check("final_width", macro.final_width, widths)


def encode(macro: MacroArchitecture, vocabulary: Vocabulary) -> Int[np.ndarray, " length"]:
    """The sentence of `macro`, padded. Raises `ValueError` where `macro` breaks a rule."""
    check_macro(macro, vocabulary)
    tokens = []
    for cluster, channels, stride, repeats in macro.stages:
        tokens += [
            cluster,
            vocabulary.channels + channels // CHANNEL_STEP - 1,
            vocabulary.strides + stride - 1,
            vocabulary.repeats + repeats - 1,
        ]
    tokens += [vocabulary.end, vocabulary.final_widths + macro.final_width // CHANNEL_STEP - 1]
    padded = np.full(vocabulary.length, PAD, np.int32)
    padded[: len(tokens)] = tokens
    return padded


def encode_batch(
    macros: Sequence[MacroArchitecture], vocabulary: Vocabulary
) -> Int[np.ndarray, "batch length"]:
    """`encode` of many; about 10 us each."""
    if not macros:
        return np.zeros((0, vocabulary.length), np.int32)
    return np.stack([encode(macro, vocabulary) for macro in macros])


def decode(tokens: Int[np.ndarray, " length"], vocabulary: Vocabulary) -> MacroArchitecture:
    """The macro architecture of a sentence. Raises `ValueError` where it is not one."""
    tokens = np.asarray(tokens).tolist()
    if vocabulary.end not in tokens:
        raise ValueError(f"`tokens` must hold END ({vocabulary.end}); got {tokens}.")
    end = tokens.index(vocabulary.end)
    if end % STAGE_TOKENS or len(tokens) < end + 2 or set(tokens[end + 2 :]) - {PAD}:
        raise ValueError(
            f"`tokens` must be stages of four tokens, END, a final width and padding; got {tokens}."
        )
    rows = np.reshape(tokens[:end], (-1, STAGE_TOKENS))
    stages = tuple(
        Stage(
            int(cluster),
            CHANNEL_STEP * int(channels - vocabulary.channels + 1),
            int(stride) - vocabulary.strides + 1,
            int(repeats) - vocabulary.repeats + 1,
        )
        for cluster, channels, stride, repeats in rows
    )
    final_width = CHANNEL_STEP * (tokens[end + 1] - vocabulary.final_widths + 1)
    macro = MacroArchitecture(stages, final_width)
    check_macro(macro, vocabulary)  # a token of the wrong block becomes a value out of range
    return macro


def decode_batch(tokens: Int[np.ndarray, "batch length"], vocabulary: Vocabulary) -> MacroBatch:
    """`decode` of many sentences that `macro.sample` wrote, as arrays and unchecked."""
    tokens = np.asarray(tokens).astype(np.int64)
    end = (tokens == vocabulary.end).argmax(1)
    rows = tokens[:, :-2].reshape(len(tokens), -1, STAGE_TOKENS)
    there = STAGE_TOKENS * np.arange(rows.shape[1]) < end[:, None]
    cluster, channels, stride, repeats = np.moveaxis(np.where(there[:, :, None], rows, 0), 2, 0)
    final = np.take_along_axis(tokens, end[:, None] + 1, 1)[:, 0]
    columns = (
        cluster,
        CHANNEL_STEP * (channels - vocabulary.channels + 1),
        stride - vocabulary.strides + 1,
        repeats - vocabulary.repeats + 1,
    )
    return MacroBatch(
        *(np.where(there, column, 0) for column in columns),
        CHANNEL_STEP * (final - vocabulary.final_widths + 1),
    )


def context_features(
    task: Task,
    budget: Budget | None = None,
    quality: float | None = None,
    *,
    steps: float | None = None,
    accuracy: float | None = None,
) -> Float[np.ndarray, " features"]:
    """The request as numbers of order one, `NUM_FEATURES` of them. quality: by the score that the
    weights know (`Bundle.fitness`); accuracy: the same by the accuracy after `steps`.

    `log2(height) / 2 - 2.5`, the same of the width, `log2(channels) / 2`, `log2(classes) / 4 - 1`
    (a 32 x 32 image has 0, 0; 224 x 224 has 1.4; a series counts as the square image of as many
    pixels), `stem_stride - 1`, a flag for each of `KINDS`; then for params, MACs, activation
    memory, latency and steps of training `log10(value) - m` (m = 5.5, 7.5, 6.5, 0.5, 3.5) and a
    flag, and for both qualities themselves (already standardised) and a flag. What is not given is
    0, and so is its flag.
    """
    height, width = task.sides
    if task.is_series:
        height = width = np.sqrt(height)
    wishes = {"steps": steps, "quality": quality, "accuracy": accuracy}
    given = (budget or Budget())._asdict() | wishes
    features = [
        np.log2(height) / 2 - 2.5,
        np.log2(width) / 2 - 2.5,
        np.log2(task.channels) / 2,
        np.log2(max(task.num_classes, 1)) / 4 - 1,
        task.stem_stride - 1.0,
        float(task.kind == "multi_label"),
        float(task.is_dense),
        float(task.kind in ("regression", "dense_regression")),
    ]
    for name in OPTIONAL_FEATURES:
        value = given[name]
        if value is None:
            features += [0.0, 0.0]
        elif name in QUALITIES:
            features += [value, 1.0]
        elif value <= 0:
            owner = name if name == "steps" else f"budget.{name}"
            raise ValueError(f"`{owner}` must be positive or None; got {value}.")
        else:
            features += [np.log10(value) - _MIDDLING[name], 1.0]
    return np.asarray(features, np.float32)


def words_of(
    contexts: Float[np.ndarray, "batch features"],
) -> Bool[np.ndarray, "batch words"]:
    """Which of `WORDS` each context says."""
    kinds, flags = contexts[:, _NUMBERS:TASK_FEATURES], contexts[:, TASK_FEATURES + 1 :: 2]
    return np.concatenate([kinds, flags], 1) != 0


def keep_words(
    contexts: Float[np.ndarray, "batch features"], known: Sequence[bool]
) -> Float[np.ndarray, "batch features"]:
    """The contexts with no other words than those of `WORDS` that are known."""
    kinds, optional = np.split(np.array(known, np.float32), [len(KINDS)])
    return contexts * np.concatenate([np.ones(_NUMBERS, np.float32), kinds, np.repeat(optional, 2)])
