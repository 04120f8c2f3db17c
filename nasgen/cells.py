"""Cells to order, for users: of any shipped space, under any subset of conditions.

A condition is a dict of some of `params`, `macs`, `snip_snr` and `nwot`, each a number or one for
each cell, as the cell has them in its space's measuring network (`condition`); or `cluster`, the
number of a component of the mixture, alone. A generator that was pretrained with measurements of
yours (`save_measurements`) takes those, too.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from nasgen import pretrained
from nasgen.models import mixture
from nasgen.pipeline import cell_generator, labels
from nasgen.pipeline.clusters import Cluster, from_json
from nasgen.pipeline.measurements import save_measurements
from nasgen.pretrained.bundle import CellBundle, load_cells
from nasgen.spaces import SPACES, graphs
from nasgen.types import Cell

__all__ = [
    "clusters",
    "condition",
    "generate",
    "interpolate",
    "load",
    "log_prob",
    "neighbours",
    "save_measurements",
]

Condition = Mapping[str, float | Sequence[float] | np.ndarray]

load = cache(load_cells)  # by name: weights are read once


def generate(
    key: Key[Array, ""],
    num: int,
    condition: Condition | None = None,
    *,
    space: str = "open",
    guidance: float = 1.0,
    temperature: float = 1.0,
    candidates: int = 1,
) -> list[Cell]:
    """`num` valid cells under a condition (None: as the space has them).

        nasgen.cells.generate(jax.random.key(0), 10, {"params": 20_000}, candidates=16)

    space: shipped weights, or the folder of a pretrain_cells run. guidance: more than 1 follows the
    condition harder, 0 ignores it. temperature: of the noise; low ones give typical cells.
    candidates: drawn for each cell, of which the one nearest to the condition is kept.

    Raises ValueError for an unknown space or condition.
    """
    bundle = load(space)
    keys = jax.random.split(key)
    wanted, mask = _standardised(bundle, condition, num, keys[0])
    options = dict(guidance=guidance, temperature=temperature, candidates=candidates)
    return graphs.unpack(cell_generator.write_cells(bundle, keys[1], wanted, mask, **options))


def neighbours(
    key: Key[Array, ""], cells: Sequence[Cell], *, space: str = "open", temperature: float = 0.5
) -> list[Cell]:
    """Another cell of the same condition for each; the farther away the higher the temperature,
    0..1. Raises ValueError for a cell of another space or a temperature beyond."""
    bundle = load(space)
    if not 0 <= temperature <= 1:
        raise ValueError(f"`temperature` must be in 0..1; got {temperature}.")
    batch = _packed(bundle, cells)
    return graphs.unpack(cell_generator.neighbours(bundle, key, batch, temperature=temperature))


def interpolate(first: Cell, last: Cell, num: int, *, space: str = "open") -> list[Cell]:
    """`num` cells, from the first to the last, along the straight line between them in the metric
    space. Raises ValueError for a cell of another space or fewer than two."""
    if num < 2:
        raise ValueError(f"`num` must be at least 2; got {num}.")
    bundle = load(space)
    ends = _packed(bundle, [first, last])
    return graphs.unpack(cell_generator.interpolate(bundle, ends, num))


def log_prob(
    cells: Sequence[Cell],
    condition: Condition | None = None,
    *,
    space: str = "open",
    bits: bool = False,
) -> Float[np.ndarray, " cells"]:
    """Exact log-density of each cell's latent under the condition, in nats (bits: in bits a latent
    dimension); of standardised latents, so cells of one space compare. Raises ValueError as
    `generate`, and for cells of another space."""
    bundle = load(space)
    wanted, mask = _standardised(bundle, condition, len(cells), jax.random.key(0))
    nats = cell_generator.log_prob(bundle, _packed(bundle, cells), wanted, mask)
    return nats / (np.log(2) * bundle.flow_config.latent_dim) if bits else nats


def condition(
    key: Key[Array, ""], cells: Sequence[Cell], *, space: str = "open"
) -> dict[str, Float[np.ndarray, " cells"]]:
    """What these cells have in the measuring network: exact counts, and scores with weights and
    images drawn from `key`. Raises ValueError for a cell of another space."""
    bundle = load(space)
    own, skeleton = SPACES[bundle.space], cell_generator.skeleton_of(bundle)
    _packed(bundle, cells)
    values = [
        labels.cost_conditions(cells, own, skeleton),
        labels.score_conditions(key, cells, own, skeleton),
    ]
    columns = zip(labels.CONDITIONS, np.concatenate(values, 1).T, strict=True)
    return {
        name.removeprefix("log_"): np.exp(column) if name.startswith("log_") else column
        for name, column in columns
    }


def clusters(space: str = "open") -> list[Cluster]:
    """The clusters of a space, each with its share, its costs, its words and a typical cell; their
    numbers are what `generate` takes as `cluster`. Raises ValueError for an unknown space."""
    own = SPACES[load(space).space]
    card = pretrained.read_card(space, "cells")
    return [from_json(one, own) for one in card["clusters"]]


def _packed(bundle: CellBundle, cells: Sequence[Cell]):
    space = SPACES[bundle.space]
    batch = graphs.pack(cells)
    valid = space.is_valid(batch)
    if not valid.all():
        raise ValueError(
            f"`cells` must be of space {space.name}; got {cells[int(np.argmin(valid))]}."
        )
    return cell_generator.in_order(space, batch)


def _standardised(
    bundle: CellBundle, condition: Condition | None, num: int, key: Key[Array, ""]
) -> tuple[Float[np.ndarray, "num condition"], Bool[np.ndarray, "num condition"]]:
    """Conditions and their mask as the models take them."""
    condition = dict(condition or {})
    if "cluster" in condition:
        number, most = condition.pop("cluster"), len(bundle.mixture.weights) - 1
        if condition or not 0 <= number <= most or int(number) != number:
            raise ValueError(f"`cluster` must stand alone, in 0..{most}; got {number!r}.")
        rows = mixture.sample(key, bundle.mixture, np.full(num, int(number)))
        return rows, np.ones(rows.shape, bool)
    wanted = np.zeros((num, len(bundle.names)), np.float32)
    mask = np.zeros(wanted.shape, bool)
    known = {name.removeprefix("log_"): i for i, name in enumerate(bundle.names)}
    for name, value in condition.items():
        if name not in known:
            raise ValueError(
                f"`condition` must name some of {', '.join(known)}, or cluster; got {name!r}."
            )
        column, logarithmic = known[name], bundle.names[known[name]].startswith("log_")
        values = np.broadcast_to(np.asarray(value, np.float64), num)
        if not np.isfinite(values).all() or (logarithmic and (values <= 0).any()):
            raise ValueError(f"`{name}` must be finite and above zero; got {value!r}.")
        values = np.log(values) if logarithmic else values
        scaling = bundle.conditions
        wanted[:, column] = (values - scaling.mean[column]) / scaling.std[column]
        mask[:, column] = True
    return wanted, mask
