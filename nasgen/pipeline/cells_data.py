"""What the generator of cells learns from: cells of a space and their conditions.

Each function is a stage: it reads the files of earlier stages in `folder` and writes its own.

    cells.npz       nodes, adjacency, costs, weights; names and values that the user measured
    labels_000.npz  scores of a chunk of the labelled cells, ...
    again.npz       scores of held-out cells with other weights and images
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key
from ml_collections import ConfigDict

from nasgen.keys import children, generator
from nasgen.pipeline.cell_generator import in_order
from nasgen.pipeline.labels import (
    CONDITIONS,
    NUM_COSTS,
    Skeleton,
    cost_conditions,
    score_conditions,
)
from nasgen.pipeline.measurements import load_measurements
from nasgen.pipeline.workdir import save_arrays
from nasgen.spaces import SPACES, Space, graphs
from nasgen.training.progress import progress
from nasgen.types import MAX_OP_NODES, CellBatch

HELD_OUT = 20  # one cell in so many
_FRESH = 20_000  # draws that tell how much of the space is still unseen
_LEAST_WEIGHT = 0.05  # of a size of cells that has been seen in full
_MAX_ROUNDS = 100  # of drawing cells


class Dataset(NamedTuple):
    """cells: distinct, in the decoder's order. conditions: NaN where not known. labelled: the rows
    of which more than costs is known; scored: those that have scores. held: the rows that no model
    is fitted on, labelled ones among them."""

    cells: CellBatch
    conditions: Float[np.ndarray, "cells condition"]
    names: tuple[str, ...]
    labelled: Int[np.ndarray, " labelled"]
    scored: Int[np.ndarray, " scored"]
    held: Bool[np.ndarray, " cells"]


def skeleton(config: ConfigDict) -> Skeleton:
    """The labelling skeleton of a config."""
    return Skeleton(**config.skeleton.to_dict())


def distinct_cells(
    space: Space, key: Key[Array, ""], num: int, *, first: CellBatch | None = None
) -> tuple[CellBatch, float]:
    """`num` cells, no two alike, as the space's sampler draws them (after the distinct `first`),
    and the share of distinct ones among its first `num`. Raises ValueError where the sampler hardly
    yields new ones any more."""
    found = [] if first is None else [first]
    seen, share = {key for batch in found for key in graphs.canonical_keys(batch)}, 1.0
    for number in range(_MAX_ROUNDS):
        drawn = space.sample(jax.random.fold_in(key, number), num)
        new = graphs.new_rows(drawn, seen)
        found.append(graphs.take(drawn, new))
        share = len(new) / num if number == 0 else share
        if len(seen) >= num:
            return graphs.take(graphs.concatenate(found), np.arange(num)), share
    raise ValueError(
        f"`num_cells` must be at most what the sampler of {space.name} yields, some {len(seen):,}; "
        f"got {num:,}."
    )


def sample_cells(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Distinct cells with their exact costs in the skeleton."""
    space = SPACES[config.space]
    keys = children(jax.random.key(config.seed), "cells", "fresh")
    names, first, own = (), None, np.zeros((0, 0))
    if config.measured is not None:
        first, names, own = load_measurements(config.measured, space)
    drawn, share = distinct_cells(space, keys["cells"], config.num_cells, first=first)
    unknown = np.full((config.num_cells - len(own), len(names)), np.nan)
    unseen = unseen_by_size(drawn, space.sample(keys["fresh"], _FRESH))
    batch = in_order(space, drawn)
    costs = cost_conditions(graphs.unpack(batch), space, skeleton(config))
    weights = np.maximum(unseen, _LEAST_WEIGHT)[graphs.num_ops(batch)]
    values = np.concatenate([own, unknown])
    arrays = {**batch._asdict(), "costs": costs, "weights": weights, "values": values}
    np.savez(folder / "cells.npz", **arrays, names=np.array(names, str))
    figures = {"num_cells": len(costs), "uniqueness_of_sampler": share}
    return {**figures, "unseen_by_size": unseen.tolist()}


def unseen_by_size(batch: CellBatch, fresh: CellBatch) -> Float[np.ndarray, " size"]:
    """How much of a space is left beyond the cells at hand: of fresh draws of each size (op nodes)
    the share that `batch` lacks, an estimate of the mass unseen (Good 1953); 1 where none came."""
    seen = set(graphs.canonical_keys(batch))
    new = np.array([key not in seen for key in graphs.canonical_keys(fresh)])
    size = graphs.num_ops(fresh)
    drawn = np.bincount(size, minlength=MAX_OP_NODES + 1)
    found = np.bincount(size[new], minlength=MAX_OP_NODES + 1)
    return np.where(drawn > 0, found / np.maximum(drawn, 1), 1.0)


def chunks(config: ConfigDict) -> list[range]:
    """The labelled cells in the parts that they are scored in."""
    starts = range(0, config.num_labelled, config.chunk)
    return [range(s, min(s + config.chunk, config.num_labelled)) for s in starts]


def label_file(index: int) -> str:
    """Of a chunk."""
    return f"labels_{index:03d}.npz"


def score_chunk(config: ConfigDict, folder: Path, index: int) -> dict[str, Any]:
    """SNIP-SNR and NWOT of a chunk of the labelled cells."""
    rows = labelled_rows(config, len(load_cells(folder).nodes))[list(chunks(config)[index])]
    scores = _score(config, folder, rows, "scores", f"cells {index + 1}/{len(chunks(config))}")
    save_arrays(folder / label_file(index), scores=scores)
    return {"num_scored": len(rows), "num_not_finite": int((~np.isfinite(scores)).any(1).sum())}


def score_again(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Held-out labelled cells once more, with other weights and images: what a score says of a cell
    and not of its draw."""
    data = load_dataset(config, folder)
    rows = data.scored[data.held[data.scored]][: config.num_again]
    scores = _score(config, folder, rows, "again", "again")
    save_arrays(folder / "again.npz", rows=rows, scores=scores)
    return {"num_scored": len(rows)}


def _score(config: ConfigDict, folder: Path, rows, draw: str, label: str) -> np.ndarray:
    """draw: names the weights and images."""
    key = _label_keys(config)[draw]
    cells = graphs.unpack(graphs.take(load_cells(folder), rows))
    with progress(len(cells), label=f"scoring {label}") as report:
        options = dict(on_scored=lambda done: report(done, ""))
        return score_conditions(key, cells, SPACES[config.space], skeleton(config), **options)


def _label_keys(config: ConfigDict) -> dict[str, Key[Array, ""]]:
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    return children(key, "choice", "scores", "again")


def labelled_rows(config: ConfigDict, num_cells: int) -> Int[np.ndarray, " labelled"]:
    """A random part of the cells; the held-out ones have their share of it."""
    return generator(_label_keys(config)["choice"]).permutation(num_cells)[: config.num_labelled]


def held_out(config: ConfigDict, num_cells: int) -> Bool[np.ndarray, " cells"]:
    """Which cells VAE, mixture and flow are not fitted on: a random part."""
    key = children(jax.random.fold_in(jax.random.key(config.seed), 2), "held_out")["held_out"]
    held = np.zeros(num_cells, bool)
    held[generator(key).permutation(num_cells)[: num_cells // HELD_OUT]] = True
    return held


def load_cells(folder: Path) -> CellBatch:
    """The sampled cells."""
    with np.load(folder / "cells.npz") as file:
        return CellBatch(file["nodes"], file["adjacency"])


def names_of(folder: Path) -> tuple[str, ...]:
    """The conditions, those that the user measured last."""
    with np.load(folder / "cells.npz") as file:
        return (*CONDITIONS, *file["names"].tolist())


def load_weights(folder: Path) -> Float[np.ndarray, " cells"]:
    """How often the flow learns from each cell: as much of its size is still unseen. For there are
    but few small cells, and a flow that gave them their share of a sampler's draws would mostly
    repeat them."""
    with np.load(folder / "cells.npz") as file:
        return file["weights"]


def load_dataset(config: ConfigDict, folder: Path) -> Dataset:
    """Cells and what is known of them."""
    batch = load_cells(folder)
    with np.load(folder / "cells.npz") as file:
        nothing = np.full((len(batch.nodes), len(CONDITIONS) - NUM_COSTS), np.nan)
        conditions = np.concatenate([file["costs"], nothing, file["values"]], 1)
    rows, scores = labelled_rows(config, len(batch.nodes)), []
    for index in range(len(chunks(config))):
        with np.load(folder / label_file(index)) as file:
            scores.append(file["scores"])
    scores = np.concatenate(scores)
    scored = slice(NUM_COSTS, len(CONDITIONS))
    conditions[rows, scored] = np.where(np.isfinite(scores), scores, np.nan)
    measured = np.isfinite(conditions[:, len(CONDITIONS) :]).any(1)
    labelled = np.union1d(rows, np.flatnonzero(measured)) if measured.any() else rows
    held = held_out(config, len(batch.nodes))
    return Dataset(batch, conditions, names_of(folder), labelled, rows, held)
