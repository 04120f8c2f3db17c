"""What the second level learns from, and its fits: scored networks, surrogate, transformer.

Each function is a stage: it reads the files of earlier stages in `folder` and writes its own.

    pool.npz      nodes, adjacency, clusters of cells to build networks of
    networks.npz  tokens, contexts, quality of every macro architecture; surrogate/*
    macro.npz     params
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from scipy.stats import spearmanr

from nasgen.arrays import flatten
from nasgen.data.natural import natural_batch
from nasgen.keys import children, generator
from nasgen.models import macro
from nasgen.models.macro import MacroConfig
from nasgen.models.macro_language import (
    OPTIONAL_FEATURES,
    TASK_FEATURES,
    Vocabulary,
    context_features,
    encode_batch,
)
from nasgen.models.surrogate import Surrogate, fit_surrogate, predict
from nasgen.networks.costs import count_many
from nasgen.networks.features import NAMES, features
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.cell_generator import clusters_of
from nasgen.pipeline.pretrain_fit import fit_model, load_params
from nasgen.pretrained.bundle import load_cells
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.spaces import SPACES, graphs
from nasgen.spaces.macro import MAX_STAGES, with_cells
from nasgen.spaces.macro import sample as sample_macros
from nasgen.training.progress import progress
from nasgen.types import Architecture, Budget, CellBatch, Task

OPEN = SPACES["open"]  # the space with a macro level to learn
FITNESS = "t_cet"  # the score that the surrogate and the quality stand for
LAYERS = NAMES.index("layers")
LOGS = [NAMES.index(name) for name in NAMES if name.startswith("log_")]


def sample_pool(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Cells of the space's sampler, each with its cluster."""
    bundle = load_cells(config.cells)
    key = children(jax.random.fold_in(jax.random.key(config.seed), 4), "cells")["cells"]
    batch = SPACES[bundle.space].sample(key, config.num_cells)
    clusters = clusters_of(bundle, batch)
    np.savez(folder / "pool.npz", nodes=batch.nodes, adjacency=batch.adjacency, clusters=clusters)
    return {"num_cells": len(clusters), "clusters_seen": len(np.unique(clusters))}


def macro_config(config: ConfigDict) -> MacroConfig:
    """Sizes of the transformer."""
    vocabulary = Vocabulary(len(load_cells(config.cells).mixture.weights), MAX_STAGES)
    return MacroConfig(vocabulary, **config.macro.model.to_dict())


def draw_tasks(rng: np.random.Generator, num: int, config: ConfigDict) -> list[Task]:
    """Made-up tasks: square images of a few sizes, grey or colour, some numbers of classes."""
    rows = zip(
        rng.choice(config.networks.sizes, num),
        rng.choice((1, 3), num),
        rng.choice(config.networks.classes, num),
        strict=True,
    )
    return [Task("any", (int(s), int(s), int(c)), int(k)) for s, c, k in rows]


def sample_networks(
    config: ConfigDict, folder: Path, num: int, key
) -> list[tuple[Task, Architecture]]:
    """`num` random networks for random tasks within the limits of `config.networks`; a stage's cell
    is drawn from the cells of its cluster."""
    keys = children(key, "tasks", "macros", "cells")
    rng, cell_rng = generator(keys["tasks"]), generator(keys["cells"])
    with np.load(folder / "pool.npz") as file:
        batch, clusters = CellBatch(file["nodes"], file["adjacency"]), file["clusters"]
    num_clusters = macro_config(config).vocabulary.num_clusters
    pools = [np.flatnonzero(clusters == k) for k in range(num_clusters)]
    limits = config.networks
    found: list[tuple[Task, Architecture]] = []
    for attempt in range(1000):
        (task,) = draw_tasks(rng, 1, config)
        macros = sample_macros(
            jax.random.fold_in(keys["macros"], attempt),
            max(64, num // 100),
            num_clusters=num_clusters,
            size=task.input_shape[0],
            max_channels=limits.max_channels,
        )
        # A component of the mixture may be nobody's likeliest: its networks cannot be drawn.
        macros = [m for m in macros if all(len(pools[s.cluster]) for s in m.stages)]
        chosen = [cell_rng.choice(pools[s.cluster]) for m in macros for s in m.stages]
        drawn = with_cells(macros, graphs.unpack(graphs.take(batch, np.array(chosen, int))))
        costs = count_many(drawn, OPEN.ops, task)
        inside = (costs.params <= limits.max_params) & (costs.macs <= limits.max_macs)
        inside &= costs.layers <= limits.max_layers
        found += [(task, drawn[i]) for i in np.flatnonzero(inside)]
        if len(found) >= num:
            return found[:num]
    raise ValueError("`networks` limits are too tight: hardly any random network keeps them.")


def _plans(networks: Sequence[tuple[Task, Architecture]]):
    return [make_plan(architecture, OPEN.ops, task) for task, architecture in networks]


def score_networks(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """T-CET of `num_scored` networks, the surrogate fitted on nine tenths of them, and the quality
    of all `num` networks: how far their (predicted) score stands above that of equal costs."""
    settings = config.networks
    keys = children(
        jax.random.fold_in(jax.random.key(config.seed), 5),
        "scored",
        "all",
        "images",
        "weights",
        "held",
    )
    scored = sample_networks(config, folder, settings.num_scored, keys["scored"])
    scored.sort(key=lambda pair: str(pair[0]))
    plans, scores = _plans(scored), []
    with progress(len(plans), label="scoring networks") as report:
        for start in range(0, len(plans), 50):
            chunk = slice(start, start + 50)
            scores += _score(plans[chunk], [t for t, _ in scored[chunk]], keys, config)
            report(len(scores), "")
    finite = np.flatnonzero(np.isfinite(scores))
    scored, plans = [scored[i] for i in finite], [plans[i] for i in finite]
    known, vectors = np.array(scores)[finite], np.array([features(plan) for plan in plans])
    held = np.zeros(len(known), bool)
    held[generator(keys["held"]).permutation(len(known))[: max(4, len(known) // 10)]] = True
    surrogate = fit_surrogate(vectors[~held], known[~held])
    guess = predict(surrogate, vectors[held])
    figures = {
        "surrogate_spearman": float(spearmanr(guess, known[held])[0]),
        "surrogate_spearman_in_bands": _within_bands(guess, known[held], vectors[held]),
        "layers_spearman": float(spearmanr(vectors[held, LAYERS], known[held])[0]),
        "num_not_finite": len(scores) - len(known),
    }
    surrogate = fit_surrogate(vectors, known)

    others = sample_networks(config, folder, settings.num - settings.num_scored, keys["all"])
    rest = np.array([features(plan) for plan in _plans(others)])
    all_vectors = np.concatenate([vectors, rest.reshape(len(others), vectors.shape[1])])
    all_scores = np.concatenate([known, predict(surrogate, all_vectors[len(known) :])])
    networks = scored + others
    requests = zip(all_vectors, networks, strict=True)
    contexts = np.stack([_context(vector, task) for vector, (task, _) in requests])
    tokens = encode_batch([one.macro for _, one in networks], macro_config(config).vocabulary)
    np.savez(
        folder / "networks.npz",
        tokens=tokens,
        contexts=contexts,
        quality=quality(all_scores, all_vectors),
        **flatten(surrogate, "surrogate"),
    )
    return {"num_networks": len(networks), "num_scored": len(known), **figures}


def _score(plans, tasks: Sequence[Task], keys, config: ConfigDict) -> list[float]:
    """Scores in the given order; one batch of images for each task."""
    proxies, scores = {FITNESS: PROXIES[FITNESS]}, []
    start = 0
    while start < len(plans):
        task = tasks[start]
        stop = next((i for i in range(start, len(plans)) if tasks[i] != task), len(plans))
        images, labels = natural_batch(
            keys["images"], config.networks.batch, task.input_shape, task.num_classes
        )
        found = score(plans[start:stop], proxies, keys["weights"], images, labels)
        scores += found.values[FITNESS].tolist()
        start = stop
    return scores


def _within_bands(guess, known, vectors, bands: int = 4) -> float:
    """Mean Spearman within bands of equal params: a score that only says "bigger" gets none."""
    log_params = vectors[:, NAMES.index("log_params")]
    edges = np.quantile(log_params, np.linspace(0, 1, bands + 1)[1:-1])
    band = np.digitize(log_params, edges)
    return float(np.mean([spearmanr(guess[band == b], known[band == b])[0] for b in range(bands)]))


def quality(scores: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Standardised residual of the score given costs and task (a quadratic in their logs), within
    three standard deviations."""
    logs = vectors[:, LOGS]
    logs = (logs - logs.mean(0)) / (logs.std(0) + 1e-6)
    rows, columns = np.triu_indices(logs.shape[1])
    inputs = np.column_stack([np.ones(len(logs)), logs, logs[:, rows] * logs[:, columns]])
    residual = scores - inputs @ np.linalg.lstsq(inputs, scores, rcond=None)[0]
    return (residual / residual.std()).clip(-3, 3)


def _context(vector: np.ndarray, task: Task) -> np.ndarray:
    """The request that a network of these features just meets."""
    costs = {name: float(np.exp(vector[NAMES.index(f"log_{name}")])) for name in Budget().counted}
    return context_features(task, Budget(**{n: max(round(c), 1) for n, c in costs.items()}), 0.0)


def train_macro(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The transformer, on requests whose budgets lie a little above what the network costs."""
    sizes, settings = macro_config(config), config.macro
    with np.load(folder / "networks.npz") as file:
        tokens, contexts, quality_ = file["tokens"], file["contexts"], file["quality"]
    tokens = tokens[:, : int((tokens >= 0).sum(1).max())]
    values = TASK_FEATURES + 2 * np.arange(len(OPTIONAL_FEATURES))
    contexts[:, values[-1]] = quality_
    keys = children(
        jax.random.fold_in(jax.random.key(config.seed), 6), "init", "train", "data", "held", "eval"
    )
    held = generator(keys["held"]).random(len(tokens)) < 0.05
    rows = np.flatnonzero(~held)

    def batch_fn(step: int) -> tuple[np.ndarray, np.ndarray]:
        index = generator(jax.random.fold_in(keys["data"], step)).choice(rows, settings.batch_size)
        return contexts[index], tokens[index]

    def loss_fn(params, model_state, one, key):
        slack_key, drop_key = jax.random.split(key)
        context, sentence = one
        context = _loosen(slack_key, context, settings.max_slack)
        loss = macro.loss(
            params,
            drop_key,
            context,
            sentence,
            config=sizes,
            drop_probability=settings.drop_probability,
        )
        return loss, (model_state, {})

    params = macro.init(keys["init"], sizes)
    fitted = fit_model(loss_fn, params, batch_fn, keys["train"], settings, folder / "macro")
    np.savez(folder / "macro.npz", **flatten(fitted.state.average[0]))
    loss = jax.jit(lambda p, c, t: loss_fn(p, (), (c, t), keys["eval"])[0])
    index = np.flatnonzero(held)[:512]
    held_out_loss = float(loss(fitted.state.average[0], contexts[index], tokens[index]))
    return {"held_out_loss": held_out_loss}


def _loosen(key, contexts, max_slack: float):
    """Budgets up to `max_slack` times the costs, each drawn apart: log10 values in the context."""
    budgets = TASK_FEATURES + 2 * np.arange(len(OPTIONAL_FEATURES) - 1)
    most = np.log10(max_slack)
    slack = jax.random.uniform(key, (contexts.shape[0], len(budgets)), maxval=most)
    return jnp.asarray(contexts).at[:, budgets].add(slack)


def load_macro(config: ConfigDict, folder: Path):
    """The trained transformer's params."""
    return load_params(folder / "macro.npz", macro.init, macro_config(config))


def load_surrogate(folder: Path) -> Surrogate:
    """The fitted surrogate."""
    with np.load(folder / "networks.npz") as file:
        return Surrogate(*(file[f"surrogate/{field}"] for field in Surrogate._fields))
