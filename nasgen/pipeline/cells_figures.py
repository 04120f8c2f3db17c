"""How good a metric space is: figures on held-out cells."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float
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

NEIGHBOURS = 10
_PAIRS = 2_000  # cells at most whose distances are compared


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
    figures: dict[str, Any] = {"exact_reconstruction": float(np.mean(same))}
    predicted = np.asarray(graph_vae.predict_conditions(params, means, config=sizes))
    exact = space.condition_scaling.apply(data.conditions)
    for column, name in enumerate(data.names):
        known = np.isfinite(exact[held, column])
        if known.sum() > 1:
            figures[f"r2/{name}"] = r2(predicted[known, column], exact[held[known], column])
    with np.load(folder / "again.npz") as again:
        for column, name in enumerate(CONDITIONS[NUM_COSTS:]):
            first, second = data.conditions[again["rows"], NUM_COSTS + column], again["scores"]
            pair = np.stack([first, second[:, column]])
            pair = pair[:, np.isfinite(pair).all(0)]
            figures[f"r2_ceiling/{name}"] = float(np.corrcoef(pair)[0, 1] ** 2)
    key = children(jax.random.fold_in(jax.random.key(config.seed), 7), "pairs")["pairs"]
    exact = exact[:, : len(CONDITIONS)]
    whole = data.held & np.isfinite(exact).all(1)
    return figures | distances(generator(key), space.latents[whole], exact[whole])


def r2(predicted: Float[np.ndarray, " n"], wanted: Float[np.ndarray, " n"]) -> float:
    """1 - mean squared error over variance."""
    return float(1 - np.square(predicted - wanted).mean() / wanted.var())


def distances(
    rng: np.random.Generator,
    latents: Float[np.ndarray, "cells latent"],
    conditions: Float[np.ndarray, "cells condition"],
) -> dict[str, float]:
    """`latent_condition_spearman` over random pairs of cells, and `neighbour_factor`: how many
    times nearer in condition a cell's ten nearest in the latent are than others, in the median."""
    index = rng.permutation(len(latents))[:_PAIRS]
    near, far = cdist(latents[index], latents[index]), cdist(conditions[index], conditions[index])
    pairs: Bool[np.ndarray, "cells cells"] = np.triu(np.ones(near.shape, bool), 1)
    nearest = np.argsort(near + np.where(np.eye(len(near), dtype=bool), np.inf, 0), 1)
    to_nearest = np.take_along_axis(far, nearest[:, :NEIGHBOURS], 1).mean(1)
    to_all = far.sum(1) / (len(far) - 1)
    return {
        "latent_condition_spearman": float(spearmanr(near[pairs], far[pairs]).statistic),
        "neighbour_factor": float(np.median(to_all / to_nearest)),
        "num_compared": len(index),
    }
