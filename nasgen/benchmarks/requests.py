"""How well requests for cells are met: exact counts and exact proxies of what was written.

Requests are the conditions of held-out cells; what was written for them is judged with the weights
and images that the requests were measured with.
"""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict
from scipy.stats import spearmanr

from nasgen.benchmarks.trained_cells import Trained
from nasgen.keys import children, generator
from nasgen.pipeline import cell_generator, labels
from nasgen.pretrained.bundle import CellBundle
from nasgen.spaces import SPACES, graphs
from nasgen.types import CellBatch


def measured(
    bundle: CellBundle, key: Key[Array, ""], batch: CellBatch, *, scores: bool = True
) -> Float[np.ndarray, "b c"]:
    """Exact counts and (nan without `scores`) exact proxies of cells, as the bundle names them."""
    cells, space = graphs.unpack(batch), SPACES[bundle.space]
    skeleton = cell_generator.skeleton_of(bundle)
    costs = labels.cost_conditions(cells, space, skeleton)
    if not scores:
        return np.concatenate([costs, np.full(costs.shape, np.nan)], 1)
    return np.concatenate([costs, labels.score_conditions(key, cells, space, skeleton)], 1)


def conditions(trained: Trained, key: Key[Array, ""], config: ConfigDict) -> dict[str, Any]:
    """How well requests are met: one sample, the best of several, with guidance, each condition
    alone, and beyond what training has seen."""
    bundle, names = trained.bundle, trained.bundle.names
    keys = children(key, "choice", "scores", "cells")
    rows = generator(keys["choice"]).permutation(len(trained.held.nodes))[: config.requests]
    wanted = measured(bundle, keys["scores"], graphs.take(trained.held, rows))
    wanted = wanted[np.isfinite(wanted).all(1)]
    asked = bundle.conditions.apply(wanted)
    write = partial(cell_generator.write_cells, bundle, keys["cells"])
    best, guided = dict(candidates=config.candidates), dict(guidance=config.guidance)
    ways = {
        "condition": best,
        "condition/single": {},
        "condition/guided": best | guided,
        "condition/guided_single": guided,
    }
    figures: dict[str, Any] = {}
    for way, options in ways.items():
        found = measured(bundle, keys["scores"], write(asked, **options))
        for column, name in enumerate(names):
            figures |= _met(f"{way}/{_plain(name)}", name, wanted[:, column], found[:, column])
        if way == "condition":
            figures |= {"picture/wanted": wanted.tolist(), "picture/found": found.tolist()}
    for column, name in enumerate(names):
        mask = np.zeros(asked.shape, bool)
        mask[:, column] = True
        batch = write(asked, mask, **best)
        found = measured(bundle, keys["scores"], batch, scores=column >= labels.NUM_COSTS)
        start = f"condition/alone/{_plain(name)}"
        figures |= _met(start, name, wanted[:, column], found[:, column])
    return figures | _beyond(trained, write, asked, config)


def _met(start: str, name: str, wanted, found) -> dict[str, float]:
    """`median_relative_error` in natural units, and Spearman's correlation."""
    kept = np.isfinite(found)
    wanted, found = wanted[kept], found[kept]
    true, own = (np.exp(wanted), np.exp(found)) if name.startswith("log_") else (wanted, found)
    return {
        f"{start}/median_relative_error": float(np.median(np.abs(own / true - 1))),
        f"{start}/spearman": float(spearmanr(wanted, found).statistic),
    }


def _beyond(trained: Trained, write, asked, config: ConfigDict) -> dict[str, float]:
    """Requests of params (alone) so many standard deviations outside what held-out cells have."""
    bundle, figures = trained.bundle, {}
    for side, extreme in (("below", asked[:, 0].min()), ("above", asked[:, 0].max())):
        sign = -1 if side == "below" else 1
        rows = np.zeros((64, asked.shape[1]))
        rows[:, 0] = extreme + sign * config.beyond
        mask = np.zeros(rows.shape, bool)
        mask[:, 0] = True
        batch = write(rows, mask, candidates=config.candidates)
        costs = labels.cost_conditions(
            graphs.unpack(batch), SPACES[bundle.space], cell_generator.skeleton_of(bundle)
        )
        wanted = bundle.conditions.undo(rows)[:, 0]
        figures |= _met(f"condition/{side}/params", "log_params", wanted, costs[:, 0])
        figures.pop(f"condition/{side}/params/spearman")  # all requests are the same
        held = bundle.conditions.undo(np.full((1, asked.shape[1]), extreme))[0, 0]
        figures[f"condition/{side}/params/wanted"] = float(np.exp(wanted[0]))
        figures[f"condition/{side}/params/found"] = float(np.median(np.exp(costs[:, 0])))
        figures[f"condition/{side}/params/training"] = float(np.exp(held))
    return figures


def _plain(name: str) -> str:
    return name.removeprefix("log_")
