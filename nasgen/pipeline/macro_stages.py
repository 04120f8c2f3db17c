"""What the second level learns from, and its fit: networks, their quality, the transformer.

Each function is a stage: it reads the files of earlier stages in `folder` and writes its own.

    pool.npz      nodes, adjacency, clusters of cells to build networks of, sorted by cluster
    drawn.npz     the networks that the transformer learns from, see `macro_networks`
    scored.npz    other networks that are scored exactly; scores_000.npz, ...: their scores
    networks.npz  tokens, contexts (with both qualities) of the drawn networks, words; surrogate/*
    macro.npz     params
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from scipy.stats import spearmanr

from nasgen.arrays import flatten
from nasgen.keys import children, generator
from nasgen.models import macro
from nasgen.models.macro import MacroConfig
from nasgen.models.macro_language import (
    OPTIONAL_FEATURES,
    TASK_FEATURES,
    Vocabulary,
    context_features,
    encode_batch,
    words_of,
)
from nasgen.models.surrogate import Surrogate
from nasgen.pipeline import macro_networks
from nasgen.pipeline.cell_generator import clusters_of
from nasgen.pipeline.macro_quality import SOURCES, described, standing, trained
from nasgen.pipeline.pretrain_fit import fit_model, load_params
from nasgen.pipeline.workdir import save_arrays
from nasgen.pretrained.bundle import load_accuracy, load_cells
from nasgen.spaces import SPACES
from nasgen.spaces.macro import MAX_STAGES, unpack
from nasgen.types import Budget

_VALUES = TASK_FEATURES + 2 * np.arange(len(OPTIONAL_FEATURES))  # of the words, in a context


def sample_pool(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Cells of the space's sampler, each with its cluster."""
    bundle = load_cells(config.cells)
    key = children(_key(config, 4), "cells")["cells"]
    batch = SPACES[bundle.space].sample(key, config.num_cells)
    clusters = clusters_of(bundle, batch)
    macro_networks.save_pool(folder, batch, clusters, len(bundle.mixture.weights))
    return {"num_cells": len(clusters), "clusters_seen": len(np.unique(clusters))}


def macro_config(config: ConfigDict) -> MacroConfig:
    """Sizes of the transformer."""
    vocabulary = Vocabulary(len(load_cells(config.cells).mixture.weights), MAX_STAGES)
    return MacroConfig(vocabulary, **config.macro.model.to_dict())


def _key(config: ConfigDict, number: int):
    return jax.random.fold_in(jax.random.key(config.seed), number)


def draw(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The networks to learn from, and those to score exactly: of few sizes of images, few widths
    and, since they take so long, few heavy ones; sorted by task."""
    settings, pool = config.networks, macro_networks.load_pool(folder)
    keys = children(_key(config, 5), "drawn", "scored")
    ranges = macro_networks.ranges_of(settings)
    drawn = macro_networks.draw_networks(ranges, pool, settings.num, keys["drawn"])
    macro_networks.save(folder / "drawn.npz", drawn)
    scored = macro_networks.draw_networks(
        ranges._replace(macs=(ranges.macs[0], settings.scored_macs)),
        pool,
        settings.num_scored,
        keys["scored"],
        sizes=tuple(settings.scored_sizes),
        classes=tuple(settings.scored_classes),
        heavy=settings.heavy_macs,
    )
    scored = macro_networks.coarse(scored)
    order = np.lexsort(scored.tasks.T[::-1])
    macro_networks.save(folder / "scored.npz", macro_networks.take(scored, order))
    counted = macro_networks.count(drawn, pool)
    return {
        f"{name}_quantiles": np.quantile(getattr(counted, name), [0, 0.05, 0.5, 0.95, 1]).tolist()
        for name in ("params", "macs", "activation_memory", "layers")
    }


def judge_networks(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """How far the scores of all drawn networks stand above those of equal costs: by the fitness
    and, where the config names a predictor, by accuracy after some steps."""
    networks, pool = macro_networks.load(folder / "drawn.npz"), macro_networks.load_pool(folder)
    vectors, rows = described(networks, pool)
    scores, surrogate, figures = SOURCES[config.fitness].judge(config, folder, vectors)
    words: dict[str, Any] = {"quality": standing(scores, vectors).tolist()}
    if config.accuracy is not None:
        rng = generator(children(_key(config, 7), "steps")["steps"])
        found = trained(load_accuracy(config.accuracy).unscored, rows, rng)
        words["accuracy"] = standing(found.scores, vectors, found.steps).tolist()
        words["steps"] = found.steps.tolist()
        figures["accuracy_quality_spearman"] = float(
            spearmanr(words["accuracy"], words["quality"]).statistic
        )
    counted = macro_networks.count(networks, pool)
    used = np.stack([getattr(counted, name) for name in Budget().counted], 1).tolist()
    said = [dict(zip(words, values, strict=True)) for values in zip(*words.values(), strict=True)]
    tasks = macro_networks.tasks_of(networks.tasks)
    contexts = [
        context_features(task, Budget(*costs), **one)
        for task, costs, one in zip(tasks, used, said, strict=True)
    ]
    contexts = np.stack(contexts)
    np.savez(
        folder / "networks.npz",
        tokens=encode_batch(unpack(networks.macros), macro_config(config).vocabulary),
        contexts=contexts,
        words=words_of(contexts).any(0),
        **flatten(surrogate, "surrogate"),
    )
    return {"num_networks": len(used), **figures}


def train_macro(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The transformer, on requests whose budgets lie a little above what the network costs."""
    sizes, settings = macro_config(config), config.macro
    with np.load(folder / "networks.npz") as file:
        tokens, contexts = file["tokens"], file["contexts"]
    tokens = tokens[:, : int((tokens >= 0).sum(1).max())]
    keys = children(_key(config, 6), "init", "train", "data", "held", "eval")
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
    save_arrays(folder / "macro.npz", **flatten(fitted.state.average[0]))
    loss = jax.jit(lambda p, c, t: loss_fn(p, (), (c, t), keys["eval"])[0])
    index = np.flatnonzero(held)[:512]
    held_out_loss = float(loss(fitted.state.average[0], contexts[index], tokens[index]))
    return {"held_out_loss": held_out_loss}


def _loosen(key, contexts, max_slack: float):
    """Budgets up to `max_slack` times the costs, each drawn apart: log10 values in the context."""
    budgets = _VALUES[: len(Budget().counted)]
    slack = jax.random.uniform(key, (contexts.shape[0], len(budgets)), maxval=np.log10(max_slack))
    return jnp.asarray(contexts).at[:, budgets].add(slack)


def load_macro(config: ConfigDict, folder: Path):
    """The trained transformer's params."""
    return load_params(folder / "macro.npz", macro.init, macro_config(config))


def load_surrogate(folder: Path) -> Surrogate:
    """The fitted surrogate."""
    with np.load(folder / "networks.npz") as file:
        return Surrogate(*(file[f"surrogate/{field}"] for field in Surrogate._fields))


def load_words(folder: Path) -> tuple[bool, ...]:
    """Which of `WORDS` some context says."""
    with np.load(folder / "networks.npz") as file:
        return tuple(file["words"].tolist())
