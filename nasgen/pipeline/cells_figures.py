"""How good a metric space is: figures on held-out cells."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from nasgen.keys import children, generator
from nasgen.models import graph_vae
from nasgen.pipeline.cells_data import load_dataset
from nasgen.pipeline.cells_fit import load_metric, load_vae, vae_config
from nasgen.pipeline.chunks import decode_all
from nasgen.pipeline.labels import CONDITIONS, NUM_COSTS
from nasgen.spaces import graphs
from nasgen.statistics import interval

NEIGHBOURS = 10
_PAIRS = 500  # cells at most whose distances are compared
_SAMPLES = 200  # of the bootstrap


def measure(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """A stage: `exact_reconstruction`, `r2/NAME` of the regressor with `r2_ceiling/NAME`, what the
    latent's distances say of the condition's."""
    data, space, sizes = (
        load_dataset(config, folder),
        load_metric(folder),
        vae_config(config, folder),
    )
    params, held = load_vae(config, folder), np.flatnonzero(data.held)
    means = space.latent_scaling.undo(space.latents[held]).astype(np.float32)
    decoded = graphs.canonical_keys(decode_all(params, sizes, means))
    wanted = graphs.canonical_keys(graphs.take(data.cells, held))
    same = [a == b for a, b in zip(decoded, wanted, strict=True)]
    keys = children(jax.random.fold_in(jax.random.key(config.seed), 7), "pairs", "bootstrap")
    rng, figures = generator(keys["bootstrap"]), {}

    def note(name: str, statistic: Callable, *columns: np.ndarray) -> None:
        figures[name] = float(statistic(*columns))
        figures[f"{name}/interval"] = bootstrap(rng, statistic, *columns)

    note("exact_reconstruction", np.mean, np.array(same, float))
    predicted = np.asarray(graph_vae.predict_conditions(params, means, config=sizes))
    exact = space.condition_scaling.apply(data.conditions)
    for column, name in enumerate(data.names):
        known = np.isfinite(exact[held, column])
        if known.sum() > 1:
            note(f"r2/{name}", r2, predicted[known, column], exact[held[known], column])
    with np.load(folder / "again.npz") as again:
        for column, name in enumerate(CONDITIONS[NUM_COSTS:]):
            first, second = data.conditions[again["rows"], NUM_COSTS + column], again["scores"]
            pair = np.stack([first, second[:, column]])
            note(f"r2_ceiling/{name}", _shared_variance, *pair[:, np.isfinite(pair).all(0)])
    exact = exact[:, : len(CONDITIONS)]
    whole = np.flatnonzero(data.held & np.isfinite(exact).all(1))
    whole = generator(keys["pairs"]).permutation(whole)[:_PAIRS]
    for name, statistic in DISTANCES.items():
        note(name, partial(statistic, space.latents, exact), whole)
    return figures | {"num_compared": len(whole)}


def bootstrap(
    rng: np.random.Generator, statistic: Callable, *columns: np.ndarray
) -> tuple[float, float]:
    """The 95 % interval of a statistic of columns whose rows are drawn again with replacement; nan
    where it is never finite."""
    draws = rng.integers(0, len(columns[0]), (_SAMPLES, len(columns[0])))
    found = [statistic(*(column[rows] for column in columns)) for rows in draws]
    return interval(np.array(found, float))


def r2(predicted: Float[np.ndarray, " n"], wanted: Float[np.ndarray, " n"]) -> float:
    """1 - mean squared error over variance."""
    return float(1 - np.square(predicted - wanted).mean() / wanted.var())


def _shared_variance(first: np.ndarray, second: np.ndarray) -> float:
    return np.corrcoef(first, second)[0, 1] ** 2


def latent_condition_spearman(latents, conditions, rows: Int[np.ndarray, " cells"]) -> float:
    """Spearman correlation of the distances of pairs in the latent and in the condition."""
    near, far, pairs = _distances(latents, conditions, rows)
    return spearmanr(near[np.triu(pairs)], far[np.triu(pairs)]).statistic


def neighbour_factor(latents, conditions, rows: Int[np.ndarray, " cells"]) -> float:
    """How many times nearer in condition a cell's ten nearest in the latent are than others, in
    the median."""
    near, far, pairs = _distances(latents, conditions, rows)
    nearest = np.argsort(np.where(pairs, near, np.inf), 1)[:, :NEIGHBOURS]
    to_nearest = np.take_along_axis(far, nearest, 1).mean(1)
    return np.median((far * pairs).sum(1) / pairs.sum(1) / to_nearest)


DISTANCES = {
    "latent_condition_spearman": latent_condition_spearman,
    "neighbour_factor": neighbour_factor,
}


def _distances(latents, conditions, rows):
    """Of all pairs of these rows, in the latent and in the condition, `[rows, rows]`; and which
    pairs are of two different cells (a bootstrap takes some more than once)."""
    near, far = cdist(latents[rows], latents[rows]), cdist(conditions[rows], conditions[rows])
    return near, far, rows[:, None] != rows[None]
