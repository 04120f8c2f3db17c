"""What a generator of cells is worth: valid, unique, novel cells; conditions met; speed; density.

Every space's generator draws cells with no condition given (`SPACE/validity`, `uniqueness`,
`novelty`, `valid_unique_yield`; beside them the space's own sampler). In `open`, requests are the
conditions of held-out cells, and what was written for them is judged by exact counts and exact
proxies with the weights and images that the requests were measured with. Each figure is the median
over seeds; `.../all` lists them.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Key
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.benchmarks.density import density, speed
from nasgen.benchmarks.requests import conditions
from nasgen.benchmarks.trained_cells import Trained, load_trained
from nasgen.keys import children
from nasgen.pipeline import cell_generator
from nasgen.pipeline.config import (
    COMMON,
    UserError,
    boolean,
    check,
    number,
    some_of,
    text,
    whole,
    wholes,
)
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import CellBundle
from nasgen.report import generation as report
from nasgen.spaces import SPACES, graphs
from nasgen.training.progress import announce
from nasgen.types import CellBatch

WRITTEN = ("open", "nb201", "nb101")  # spaces with a generator
RULES = {
    **COMMON,
    "spaces": some_of(WRITTEN),
    **{f"weights.{space}": text() for space in WRITTEN},
    "seeds": wholes(0, 2**31),
    "num": wholes(1, 1_000_000),
    "requests": whole(3, 100_000),
    "candidates": whole(2, 10_000),
    "guidance": number(0),
    "beyond": number(0),
    "batch": whole(1, 1_000_000),
    "rounds": whole(1, 1_000),
    "densities": whole(8, 100_000),
    "density_conditions": whole(1, 100_000),
    "plots": boolean(),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Measures, writes results.json, report.md and the picture. Raises UserError for a config that
    is off and for weights that are not there."""
    check(config, RULES)
    for space in config.spaces:
        try:
            found = pretrained.space_of(config.weights[space], "cells")
        except ValueError as error:
            raise UserError(str(error).replace("`pretrained`", "`config.weights`")) from None
        if found != space:
            raise UserError(f"`config.weights.{space}` must write cells of {space}; got {found}.")
    stages, loaded = [], {}

    def trained(space: str) -> Trained:
        if space not in loaded:
            announce(space, "drawing the cells of its pretraining again")
            loaded[space] = load_trained(config.weights[space])
        return loaded[space]

    for space in config.spaces:
        for stage, function in _stages(space).items():  # so seeds of a timing run side by side
            for seed in config.seeds:
                name, key = f"{space}_{stage}_{seed}", jax.random.key(seed)
                work = partial(_work, function, trained, space, key, config)
                stages.append(Stage(name, (), work))
    for stage in stages:
        run_stages(workdir, [stage])
    results = collect(config, workdir)
    report.write_report(workdir.path, results, space=SPACES["open"], figures=config.plots)
    write_results(workdir, results)


def _stages(space: str) -> dict[str, Callable]:
    if space != "open":
        return {"samples": samples}
    return {"speed": speed, "samples": samples, "conditions": conditions, "density": density}


def _work(function: Callable, trained: Callable, space: str, key, config) -> dict[str, Any]:
    return function(trained(space), key, config)


def collect(config: ConfigDict, workdir: Workdir) -> dict[str, Any]:
    """The medians over seeds, and all values."""
    results: dict[str, Any] = {"seeds": list(config.seeds)}
    for space in config.spaces:
        for stage in _stages(space):
            rows = [read_stage(workdir.path, f"{space}_{stage}_{seed}") for seed in config.seeds]
            for name in rows[0]:
                if name in ("seconds", "seconds_compile"):
                    continue
                values = [row[name] for row in rows]
                if isinstance(values[0], list):  # of a picture: one seed's
                    results[f"{space}/{name}"] = values[0]
                    continue
                results[f"{space}/{name}"] = float(np.median(values))
                results[f"{space}/{name}/all"] = values
    return results


def draw(bundle: CellBundle, key: Key[Array, ""], num: int) -> CellBatch:
    """`num` cells with no condition given."""
    nothing = np.zeros((num, len(bundle.names)), np.float32)
    return cell_generator.write_cells(bundle, key, nothing, np.zeros(nothing.shape, bool))


def samples(trained: Trained, key: Key[Array, ""], config: ConfigDict) -> dict[str, float]:
    """Shares at each number of samples: of the first the plain names, of others `at_NUMBER/...`;
    the same of the space's sampler; and of as many distinct ones, with what they cost."""
    bundle, space = trained.bundle, SPACES[trained.bundle.space]
    figures: dict[str, float] = {}
    keys = children(key, "cells", "sampler", "distinct")
    started = time.perf_counter()
    cells = draw(bundle, keys["cells"], max(config.num))
    seconds = time.perf_counter() - started
    fresh = space.sample(keys["sampler"], max(config.num))
    for index, num in enumerate(config.num):
        start = "" if index == 0 else f"at_{num}/"
        for name, batch in (("", cells), ("sampler/", fresh)):
            some = graphs.take(batch, slice(num))
            found = shares(some, space.is_valid(some), trained.known)
            figures |= {f"{start}{name}{share}": value for share, value in found.items()}
    started = time.perf_counter()
    more, draws = distinct(bundle, keys["distinct"], config.num[0])
    ratio = (time.perf_counter() - started) / config.num[0] / (seconds / max(config.num))
    found = shares(more, space.is_valid(more), trained.known)
    figures |= {f"distinct/{name}": value for name, value in found.items()}
    return figures | {
        "distinct/draws_per_cell": draws / config.num[0],
        "distinct/seconds_ratio": ratio,
    }


def shares(
    batch: CellBatch, valid: Bool[np.ndarray, " batch"], known: frozenset[bytes]
) -> dict[str, float]:
    """validity; of the valid ones uniqueness (up to isomorphism); of the unique ones novelty; and
    the share of valid and unique among all."""
    keys = graphs.canonical_keys(graphs.take(batch, valid))
    unique = set(keys)
    return {
        "validity": float(valid.mean()),
        "uniqueness": len(unique) / len(keys),
        "novelty": len(unique - known) / len(unique),
        "valid_unique_yield": len(unique) / len(valid),
    }


def distinct(bundle: CellBundle, key: Key[Array, ""], num: int) -> tuple[CellBatch, int]:
    """`num` cells no two of which are alike, and how many were drawn for them."""
    found, seen, draws = [], set(), 0
    while len(seen) < num:
        size = max(num - len(seen), num // 20)
        batch = draw(bundle, jax.random.fold_in(key, draws), size)
        draws += size
        found.append(graphs.take(batch, graphs.new_rows(batch, seen)))
    return graphs.take(graphs.concatenate(found), np.arange(num)), draws
