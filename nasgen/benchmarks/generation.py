"""What a generator of cells is worth: valid, unique, novel cells; conditions met; speed; density.

Every space's generator draws cells with no condition given (`SPACE/validity`, `uniqueness`,
`novelty`, `valid_unique_yield`; beside them the space's own sampler). In `open`, requests are the
conditions of held-out cells, and what was written for them is judged by exact counts and exact
proxies with the weights and images that the requests were measured with. Each figure is the median
over seeds; `.../all` lists them.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from ml_collections import ConfigDict
from scipy.stats import spearmanr

from nasgen import pretrained
from nasgen.keys import children, generator
from nasgen.models import flow, graph_vae
from nasgen.pipeline import cell_generator, labels
from nasgen.pipeline.cells_data import distinct_cells, held_out
from nasgen.pipeline.config import COMMON, UserError, boolean, check, number, some_of, whole, wholes
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import CellBundle, load_cells
from nasgen.report import generation as report
from nasgen.spaces import SPACES, graphs
from nasgen.training.progress import announce
from nasgen.types import CellBatch

RULES = {
    **COMMON,
    "spaces": some_of(("open", "nb201", "nb101")),
    "seeds": wholes(0, 2**31),
    "num": wholes(1, 1_000_000),
    "requests": whole(3, 100_000),
    "candidates": whole(2, 10_000),
    "guidance": number(0),
    "beyond": number(0),
    "batch": whole(1, 1_000_000),
    "rounds": whole(1, 1_000),
    "densities": whole(8, 100_000),
    "plots": boolean(),
}


class Trained(NamedTuple):
    """A generator, and the cells of its pretraining: fitted ones by key, held-out ones."""

    bundle: CellBundle
    fitted: frozenset[bytes]
    held: CellBatch


def load_trained(config: ConfigDict, space: str) -> Trained:
    """The generator of a space with its cells, which its card says how to draw again."""
    name = config.weights[space]
    bundle = load_cells(name)
    card = json.loads(pretrained.find(name, "cells")[1].read_text())
    about = ConfigDict(card["config"])
    key = children(jax.random.key(about.seed), "cells")["cells"]
    batch = distinct_cells(SPACES[space], key, about.num_cells)[0]
    held = held_out(about, about.num_cells)
    fitted = graphs.canonical_keys(graphs.take(batch, ~held))
    order = cell_generator.in_order(SPACES[space], graphs.take(batch, held))
    return Trained(bundle, frozenset(fitted), order)


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
            loaded[space] = load_trained(config, space)
        return loaded[space]

    for space in config.spaces:
        for seed in config.seeds:
            for stage, function in _stages(space).items():
                name, key = f"{space}_{stage}_{seed}", jax.random.key(seed)
                work = partial(_work, function, trained, space, key, config)
                stages.append(Stage(name, (), work))
    for stage in stages:
        run_stages(workdir, [stage])
    results = collect(config, workdir)
    report.write_report(workdir.path, results, figures=config.plots)
    write_results(workdir, results)


def _stages(space: str) -> dict[str, Callable]:
    if space != "open":
        return {"samples": samples}
    return {"samples": samples, "conditions": conditions, "speed": speed, "density": density}


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


# ---- valid, unique, novel -----------------------------------------------------------------------


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
            found = shares(some, space.is_valid(some), trained.fitted)
            figures |= {f"{start}{name}{share}": value for share, value in found.items()}
    started = time.perf_counter()
    more, draws = distinct(bundle, keys["distinct"], config.num[0])
    ratio = (time.perf_counter() - started) / config.num[0] / (seconds / max(config.num))
    found = shares(more, space.is_valid(more), trained.fitted)
    figures |= {f"distinct/{name}": value for name, value in found.items()}
    return figures | {
        "distinct/draws_per_cell": draws / config.num[0],
        "distinct/seconds_ratio": ratio,
    }


def shares(
    batch: CellBatch, valid: Bool[np.ndarray, " batch"], fitted: frozenset[bytes]
) -> dict[str, float]:
    """validity; of the valid ones uniqueness (up to isomorphism); of the unique ones novelty; and
    the share of valid and unique among all."""
    keys = graphs.canonical_keys(graphs.take(batch, valid))
    unique = set(keys)
    return {
        "validity": float(valid.mean()),
        "uniqueness": len(unique) / len(keys),
        "novelty": len(unique - fitted) / len(unique),
        "valid_unique_yield": len(unique) / len(valid),
    }


def distinct(bundle: CellBundle, key: Key[Array, ""], num: int) -> tuple[CellBatch, int]:
    """`num` cells no two of which are alike, and how many were drawn for them."""
    found, seen, draws = [], set(), 0
    while len(seen) < num:
        size = max(num - len(seen), num // 20)
        batch = draw(bundle, jax.random.fold_in(key, draws), size)
        draws += size
        keys = graphs.canonical_keys(batch)
        new = [i for i, k in enumerate(keys) if k not in seen and not seen.add(k)]
        found.append(graphs.take(batch, np.array(new, int)))
    return graphs.take(graphs.concatenate(found), np.arange(num)), draws


# ---- conditions ---------------------------------------------------------------------------------


def measured(bundle: CellBundle, key: Key[Array, ""], batch: CellBatch) -> Float[np.ndarray, "b c"]:
    """Exact counts and exact proxies of cells, in the units of the bundle's names."""
    cells, space = graphs.unpack(batch), SPACES[bundle.space]
    skeleton = cell_generator.skeleton_of(bundle)
    costs = labels.cost_conditions(cells, space, skeleton)
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
    best = dict(candidates=config.candidates)
    ways = {
        "condition": (asked, None, best),
        "condition/single": (asked, None, {}),
        "condition/guided": (asked, None, best | {"guidance": config.guidance}),
        "condition/guided_single": (asked, None, {"guidance": config.guidance}),
    }
    for column, name in enumerate(names):
        mask = np.zeros(asked.shape, bool)
        mask[:, column] = True
        ways[f"condition/alone/{_plain(name)}"] = (asked, mask, best)
    figures: dict[str, Any] = {}
    for way, (rows_of, mask, options) in ways.items():
        found = measured(bundle, keys["scores"], write(rows_of, mask, **options))
        columns = range(len(names)) if mask is None else np.flatnonzero(mask[0])
        for column in columns:
            start = way if mask is not None else f"{way}/{_plain(names[column])}"
            figures |= _met(start, names[column], wanted[:, column], found[:, column])
        if way == "condition":
            figures |= {"picture/wanted": wanted.tolist(), "picture/found": found.tolist()}
    figures |= _beyond(trained, keys["scores"], write, asked, config)
    return figures


def _met(start: str, name: str, wanted, found) -> dict[str, float]:
    """`median_relative_error` in natural units, and Spearman's correlation."""
    kept = np.isfinite(found)
    wanted, found = wanted[kept], found[kept]
    true, own = (np.exp(wanted), np.exp(found)) if name.startswith("log_") else (wanted, found)
    return {
        f"{start}/median_relative_error": float(np.median(np.abs(own / true - 1))),
        f"{start}/spearman": float(spearmanr(wanted, found).statistic),
    }


def _beyond(trained: Trained, key, write, asked, config: ConfigDict) -> dict[str, float]:
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


# ---- speed and density --------------------------------------------------------------------------


def speed(trained: Trained, key: Key[Array, ""], config: ConfigDict) -> dict[str, float]:
    """Valid unique cells a second, and exact log-likelihoods, in one compiled program each; the
    least of several rounds, compiling apart."""
    bundle = trained.bundle

    @jax.jit
    def write(one):
        shape = (config.batch, len(bundle.names))
        nothing, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        latents = flow.sample(bundle.flow, one, nothing, mask, config=bundle.flow_config)
        latents = bundle.latents.undo(latents).astype(np.float32)
        return latents, *graph_vae.decode(
            bundle.vae, latents, nothing, mask, config=bundle.vae_config
        )

    seconds, started = [], time.perf_counter()
    latents, nodes, adjacency = jax.block_until_ready(write(key))
    compiling = time.perf_counter() - started
    for turn in range(config.rounds):
        started = time.perf_counter()
        _, nodes, adjacency = jax.block_until_ready(write(jax.random.fold_in(key, turn)))
        seconds.append(time.perf_counter() - started)
    batch = CellBatch(np.asarray(nodes), np.asarray(adjacency))
    valid = SPACES[bundle.space].is_valid(batch)
    unique = len(set(graphs.canonical_keys(graphs.take(batch, valid))))
    some = bundle.latents.apply(np.asarray(latents))[: config.densities].astype(np.float32)
    rows = np.zeros((len(some), len(bundle.names)), np.float32)
    mask = np.zeros(rows.shape, bool)
    evaluate = partial(flow.log_prob, bundle.flow, some, rows, mask, config=bundle.flow_config)
    jax.block_until_ready(evaluate())
    started = time.perf_counter()
    jax.block_until_ready(evaluate())
    return {
        "cells_per_second": unique / min(seconds),
        "cells_per_second/compile": compiling,
        "log_probs_per_second": len(some) / (time.perf_counter() - started),
    }


def density(trained: Trained, key: Key[Array, ""], config: ConfigDict) -> dict[str, Any]:
    """Whether log p(cell | condition) prefers a held-out cell's own condition to those of others:
    `top1` of `choices`, the mean share of conditions that it beats; and held-out nats."""
    bundle = trained.bundle
    rows = generator(key).permutation(len(trained.held.nodes))[: config.densities]
    batch = graphs.take(trained.held, rows)
    own = cell_generator.conditions_of(bundle, batch)
    choices, nats = min(8, len(rows)), []
    for shift in range(choices):
        nats.append(cell_generator.log_prob(bundle, batch, np.roll(own, shift, 0)))
    nats = np.stack(nats)
    free = cell_generator.log_prob(bundle, batch, own, np.zeros(own.shape, bool))
    return {
        "density/choices": choices,
        "density/top1": float((nats.argmax(0) == 0).mean()),
        "density/beaten": float((nats[0] > nats[1:]).mean()),
        "density/held_out_nats": float(nats[0].mean()),
        "density/held_out_nats_unconditional": float(free.mean()),
        "density/held_out_bits_per_dimension": float(
            nats[0].mean() / np.log(2) / bundle.flow_config.latent_dim
        ),
    }
