"""The macro space: sequences of stages (cluster, channels, stride, repeats) and a final width.

Channels are multiples of 8 in 8..1024, strides 1 or 2, repeats 1..4, fewer than 20 cells in all
(Xiang et al., ICML 2024). Sampling draws networks whose widths grow roughly geometrically, as real
ones do; mutation is the paper's.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.spaces import graphs
from nasgen.spaces.space import Space
from nasgen.types import (
    CHANNEL_STEP,
    MAX_CELLS,
    MAX_CHANNELS,
    MAX_REPEATS,
    Architecture,
    Cell,
    MacroArchitecture,
    MacroBatch,
    Stage,
)

MAX_STAGES = 10
_FACTORS = (2.5, 2.0, 1.5, 1.25, 1.0, 1 / 1.25, 1 / 1.5, 1 / 2.0, 1 / 2.5)
_REPEAT_STEPS = (-2, -1, 0, 1, 2)


def broken_rules(macro: MacroArchitecture, *, num_clusters: int, size: int) -> list[str]:
    """The rules that `macro` breaks on inputs whose smaller side is `size`, in words."""
    stages = macro.stages
    rules = {
        f"1..{MAX_STAGES} stages": 1 <= len(stages) <= MAX_STAGES,
        f"clusters in 0..{num_clusters - 1}": all(0 <= s.cluster < num_clusters for s in stages),
        f"channels a multiple of {CHANNEL_STEP} in {CHANNEL_STEP}..{MAX_CHANNELS}": all(
            _is_width(s.channels) for s in stages
        ),
        "strides 1 or 2": all(s.stride in (1, 2) for s in stages),
        f"repeats in 1..{MAX_REPEATS}": all(1 <= s.repeats <= MAX_REPEATS for s in stages),
        f"at most {MAX_CELLS} cells": sum(s.repeats for s in stages) <= MAX_CELLS,
        "no stride 2 on a single pixel": sum(s.stride == 2 for s in stages)
        <= max_downsamples(size),
        f"final width a multiple of {CHANNEL_STEP} in {CHANNEL_STEP}..{MAX_CHANNELS}": _is_width(
            macro.final_width
        ),
    }
    return [rule for rule, kept in rules.items() if not kept]


def _is_width(width: int) -> bool:
    return width % CHANNEL_STEP == 0 and CHANNEL_STEP <= width <= MAX_CHANNELS


def max_downsamples(size: int) -> int:
    """How often a side of `size` pixels can be halved (rounding up) before it is one pixel."""
    return int(np.ceil(np.log2(max(size, 1))))


def sample(
    key: Key[Array, ""],
    num: int,
    *,
    num_clusters: int,
    size: int,
    max_channels: int = MAX_CHANNELS,
) -> list[MacroArchitecture]:
    """`num` random macro architectures for inputs whose smaller side is `size` pixels.

    The first width is log-uniform up to `max_channels / 4`, each later one a random factor of the
    one before it, at most `max_channels`; about one stage in two halves the resolution while there
    is any left.
    """
    rng = generator(key)
    return [_sample_one(rng, num_clusters, size, max_channels) for _ in range(num)]


def sample_networks(
    key: Key[Array, ""],
    num: int,
    space: Space,
    *,
    num_clusters: int = 1,
    size: int,
    max_channels: int = MAX_CHANNELS,
) -> list[Architecture]:
    """`num` of these with random cells of `space`: most of them are over any budget."""
    keys = children(key, "macros", "cells")
    options = dict(num_clusters=num_clusters, size=size, max_channels=max_channels)
    macros = sample(keys["macros"], num, **options)
    cells = space.sample(keys["cells"], sum(len(one.stages) for one in macros))
    return with_cells(macros, graphs.unpack(cells))


def pack(macros: Sequence[MacroArchitecture]) -> MacroBatch:
    """Macro architectures as arrays, as many stages wide as the longest of them."""
    lengths = np.array([len(one.stages) for one in macros], int)
    most = int(lengths.max(initial=1))
    numbers = chain.from_iterable(stage for one in macros for stage in one.stages)
    table = np.zeros((len(macros), most, 4), np.int64)
    there = np.arange(most) < lengths[:, None]
    table[there] = np.fromiter(numbers, np.int64).reshape(-1, 4)
    finals = np.array([one.final_width for one in macros], np.int64)
    return MacroBatch(*np.moveaxis(table, 2, 0), finals)


def unpack(batch: MacroBatch) -> list[MacroArchitecture]:
    """Arrays to macro architectures."""
    lengths = (batch.repeats > 0).sum(1).tolist()
    rows = np.stack(batch[:4], 2).tolist()
    finals = batch.final_widths.tolist()
    return [
        MacroArchitecture(tuple(Stage(*stage) for stage in row[:length]), final)
        for row, length, final in zip(rows, lengths, finals, strict=True)
    ]


def take(batch: MacroBatch, index) -> MacroBatch:
    """The macro architectures at `index` (anything NumPy can index the first axis with)."""
    return MacroBatch(*(part[index] for part in batch))


def with_cells(macros: Sequence[MacroArchitecture], cells: Iterable[Cell]) -> list[Architecture]:
    """The macro architectures with their cells, handed out in order, one a stage."""
    rest = iter(cells)
    return [Architecture(one, tuple(next(rest) for _ in one.stages)) for one in macros]


def with_cell(architecture: Architecture, stage: int, cell: Cell) -> Architecture:
    """The architecture with another cell in one of its stages, by number."""
    cells = list(architecture.cells)
    cells[stage] = cell
    return architecture._replace(cells=tuple(cells))


def _sample_one(rng, num_clusters: int, size: int, max_channels: int) -> MacroArchitecture:
    num_stages = int(rng.integers(1, MAX_STAGES // 2 + 2))
    width = np.exp(rng.uniform(np.log(CHANNEL_STEP), np.log(max(max_channels / 4, CHANNEL_STEP))))
    downsamples, cells, stages = max_downsamples(size), 0, []
    for index in range(num_stages):
        room = MAX_CELLS - cells - (num_stages - index - 1)
        repeats = int(rng.integers(1, min(MAX_REPEATS, room) + 1))
        stride = 2 if downsamples > 0 and rng.random() < 0.5 else 1
        cluster = int(rng.integers(num_clusters))
        stages.append(Stage(cluster, _round_width(width, max_channels), stride, repeats))
        downsamples -= stride == 2
        cells += repeats
        width *= rng.choice(_FACTORS[:6])
    final = np.exp(rng.uniform(np.log(16), np.log(np.clip(max_channels, 16, 512))))
    return MacroArchitecture(tuple(stages), _round_width(final, MAX_CHANNELS))


def _round_width(width: float, max_channels: int = MAX_CHANNELS) -> int:
    steps = min(round(width / CHANNEL_STEP), min(max_channels, MAX_CHANNELS) // CHANNEL_STEP)
    return CHANNEL_STEP * max(int(steps), 1)


def mutate(
    key: Key[Array, ""], macro: MacroArchitecture, *, num_clusters: int, size: int
) -> MacroArchitecture:
    """A valid macro architecture one random edit away.

    A random non-empty subset of {one stage's cluster, its channels times a factor, its stride, its
    repeats plus -2..2, the final width} changes; more than 4 repeats split a stage, fewer than 1
    remove it. Raises ValueError where `macro` itself breaks a rule.
    """
    broken = broken_rules(macro, num_clusters=num_clusters, size=size)
    if broken:
        raise ValueError(f"`macro` must have {broken[0]}; got {macro}.")
    rng = generator(key)
    while True:
        mutant = _mutate_once(rng, macro, num_clusters)
        if mutant != macro and not broken_rules(mutant, num_clusters=num_clusters, size=size):
            return mutant


def _mutate_once(rng, macro: MacroArchitecture, num_clusters: int) -> MacroArchitecture:
    index = int(rng.integers(len(macro.stages)))
    stage, final_width = macro.stages[index], macro.final_width
    chosen = rng.random(5) < 0.5
    chosen[rng.integers(5)] = True
    if chosen[0]:
        stage = stage._replace(cluster=int(rng.integers(num_clusters)))
    if chosen[1]:
        stage = stage._replace(channels=_round_width(stage.channels * rng.choice(_FACTORS)))
    if chosen[2]:
        stage = stage._replace(stride=3 - stage.stride)
    if chosen[3]:
        stage = stage._replace(repeats=int(stage.repeats + rng.choice(_REPEAT_STEPS)))
    if chosen[4]:
        final_width = _round_width(final_width * rng.choice(_FACTORS))
    stages = macro.stages[:index] + _split(stage) + macro.stages[index + 1 :]
    return MacroArchitecture(stages, final_width)


def _split(stage: Stage) -> tuple[Stage, ...]:
    if stage.repeats < 1:
        return ()
    if stage.repeats <= MAX_REPEATS:
        return (stage,)
    rest = stage._replace(stride=1, repeats=stage.repeats - MAX_REPEATS)
    return (stage._replace(repeats=MAX_REPEATS), rest)
