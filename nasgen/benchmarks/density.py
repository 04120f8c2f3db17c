"""Speed and density of a generator of cells: cells and log-likelihoods a second, what the density
prefers, typical and atypical cells.
"""

import time
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict
from sklearn.metrics import roc_auc_score

from nasgen.benchmarks.trained_cells import Trained
from nasgen.keys import children, generator
from nasgen.models import flow, graph_vae
from nasgen.pipeline import cell_generator
from nasgen.pretrained.bundle import CellBundle
from nasgen.spaces import SPACES, Space, graphs
from nasgen.spaces.formats import cell_to_json
from nasgen.types import Cell, CellBatch

CHOICES = 8  # conditions that a cell's own one is compared with, itself among them
NEAR = 1.0  # standardised distance of conditions within which a cell has the condition
SHOWN = 3  # typical and atypical cells that are drawn


def speed(trained: Trained, key: Key[Array, ""], config: ConfigDict) -> dict[str, float]:
    """Valid unique cells a second, and exact log-likelihoods, in one compiled program each; the
    median of several rounds, compiling apart."""
    bundle = trained.bundle

    @jax.jit
    def write(one):
        shape = (config.batch, len(bundle.names))
        nothing, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        options = dict(config=bundle.flow_config, num=config.batch)
        latents = flow.sample(bundle.flow, one, nothing[0], mask[0], **options)
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
        "cells_per_second": unique / float(np.median(seconds)),
        "cells_per_second/compile": compiling,
        "log_probs_per_second": len(some) / (time.perf_counter() - started),
    }


def density(trained: Trained, key: Key[Array, ""], config: ConfigDict) -> dict[str, Any]:
    """What log p(cell | condition) knows of held-out cells, in nats of the standardised latent.

    `top1`, `beaten`: whether a cell's own condition is likelier than those of seven others, and how
    many of them it beats. `auc`: for a condition, how often a cell that has it (within `NEAR`) is
    likelier than one that has not. `fitted_nats`: of cells of the training, beside the held-out.
    `strange/...`: the share of held-out cells that are less likely than cells as no sampler draws
    them. `picture/...`: the most and the least typical cells, with no condition given.
    """
    bundle, space = trained.bundle, SPACES[trained.bundle.space]
    keys = children(key, "held", "fitted")
    rows = generator(keys["held"]).permutation(len(trained.held.nodes))[: config.densities]
    batch = graphs.take(trained.held, rows)
    own = cell_generator.conditions_of(bundle, batch)
    free = likelihoods(bundle, batch)
    some = generator(keys["fitted"]).permutation(len(trained.fitted.nodes))[: config.densities]
    fitted = likelihoods(bundle, graphs.take(trained.fitted, some))
    own_nats = cell_generator.log_prob(bundle, batch, own)
    figures = {
        "held_out_nats": float(own_nats.mean()),
        "held_out_bits_per_dimension": float(
            own_nats.mean() / np.log(2) / bundle.flow_config.latent_dim
        ),
        "held_out_nats_unconditional": float(free.mean()),
        "fitted_nats_unconditional": float(fitted.mean()),
        **_own_condition(bundle, batch, own, own_nats),
        "auc": _auc(bundle, batch, own, config.density_conditions),
    }
    for name, cell in strange_cells(space).items():
        nats = likelihoods(bundle, cell_generator.in_order(space, graphs.pack([cell])))[0]
        figures[f"strange/{name}"] = float((free < nats).mean())
    order = np.argsort(-free)
    for name, best in (("typical", order[:SHOWN]), ("atypical", order[-SHOWN:])):
        cells = graphs.unpack(graphs.take(batch, best))
        figures[f"picture/{name}"] = [
            {"cell": cell_to_json(cell, space), "nats": float(nats)}
            for cell, nats in zip(cells, free[best], strict=True)
        ]
    return {f"density/{name}": value for name, value in figures.items()}


def likelihoods(bundle: CellBundle, batch: CellBatch) -> Float[np.ndarray, " batch"]:
    """log p(cell) with no condition given, in nats."""
    nothing = np.zeros((len(batch.nodes), len(bundle.names)))
    return cell_generator.log_prob(bundle, batch, nothing, np.zeros(nothing.shape, bool))


def strange_cells(space: Space) -> dict[str, Cell]:
    """Cells that the rules allow and nobody draws: all nodes wired to all, and a mere chain, of the
    vocabulary's last op throughout."""
    rules = space.rules
    num, op = rules.max_ops, rules.num_ops - 1
    chain = [(i, i + 1) for i in range(num + 1)]
    others = [(i, j) for j in range(num + 2) for i in range(j - 1)]
    dense = sorted(chain + others[: rules.max_edges - len(chain)])
    return {"dense": Cell((op,) * num, tuple(dense)), "chain": Cell((op,) * num, tuple(chain))}


def _own_condition(bundle: CellBundle, batch: CellBatch, own, own_nats) -> dict[str, float]:
    choices = min(CHOICES, len(own))
    others = [
        cell_generator.log_prob(bundle, batch, np.roll(own, shift, 0))
        for shift in range(1, choices)
    ]
    beaten = own_nats[None] > np.stack(others)
    top = {"top1": float(beaten.all(0).mean()), "beaten": float(beaten.mean())}
    return {"choices": choices, **top}


def _auc(bundle: CellBundle, batch: CellBatch, own, num: int) -> float:
    """Mean area under the curve over conditions that some cells have and others have not."""
    areas = []
    for wanted in own[:num]:
        near = np.linalg.norm(own - wanted[None], axis=1) <= NEAR
        if near.all():
            continue
        nats = cell_generator.log_prob(bundle, batch, np.repeat(wanted[None], len(own), 0))
        areas.append(roc_auc_score(near, nats))
    return float(np.mean(areas))
