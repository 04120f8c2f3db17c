"""Clusters in words: what the cells of a component of the mixture have in common.

A stage of pretraining: reads the cells and the metric space, writes clusters.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from nasgen.models.mixture import Mixture
from nasgen.pipeline.cells_data import load_cells
from nasgen.pipeline.cells_fit import load_metric
from nasgen.pipeline.labels import CONDITIONS
from nasgen.report.card import op_label
from nasgen.spaces import SPACES, Space, graphs
from nasgen.spaces.formats import cell_from_json, cell_to_json
from nasgen.types import Cell, CellBatch

FILE = "clusters.json"
_SIZES = ("tiny", "small", "medium", "large", "huge")  # by fifths of all cells' params
_MORE = 1.3  # an op is typical of a cluster where it is so many times as frequent as in the space,
_NOTABLE = 0.08  # and makes up this share of the cluster's ops
_MOST_OPS = 3


class Cluster(NamedTuple):
    """share: of all cells. params, macs: medians, in the network that cells are measured in. ops,
    depth: mean op nodes, and mean ops on the longest path. typical: ops that are more frequent than
    in the whole space, most notable first. cell: of those with as
    many ops, as deep, the one nearest to the cluster's mean."""

    number: int
    share: float
    params: float
    macs: float
    ops: float
    depth: float
    typical: tuple[str, ...]
    words: str
    cell: Cell


def describe_clusters(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The stage: a record for each component that has cells."""
    batch, metric = load_cells(folder), load_metric(folder)
    conditions = metric.condition_scaling.undo(metric.conditions)
    costs = np.exp(conditions[:, [CONDITIONS.index("log_params"), CONDITIONS.index("log_macs")]])
    space = SPACES[config.space]
    found = describe(space, batch, metric.conditions, costs, metric.clusters, metric.mixture)
    (folder / FILE).write_text(json.dumps([to_json(one, space) for one in found], indent=1) + "\n")
    return {"num_clusters_with_cells": len(found)}


def load_clusters(folder: Path, space: Space) -> list[Cluster]:
    """What the stage wrote."""
    return [from_json(one, space) for one in json.loads((folder / FILE).read_text())]


def to_json(one: Cluster, space: Space) -> dict[str, Any]:
    """A cluster as a JSON-ready dict."""
    return {**one._asdict(), "cell": cell_to_json(one.cell, space)}


def from_json(one: dict[str, Any], space: Space) -> Cluster:
    """The way back."""
    cell = cell_from_json(one["cell"], space)
    return Cluster(**{**one, "typical": tuple(one["typical"]), "cell": cell})


def describe(
    space: Space,
    batch: CellBatch,
    conditions: Float[np.ndarray, "cells condition"],
    costs: Float[np.ndarray, "cells 2"],
    clusters: Int[np.ndarray, " cells"],
    mixture: Mixture,
) -> list[Cluster]:
    """conditions: standardised. costs: params and MACs. clusters: of each cell."""
    counts = np.stack([(batch.nodes == op).sum(1) for op in range(len(space.ops))], 1)
    num_ops = graphs.num_ops(batch)
    depth = graphs.depths(batch)[:, -1] - 1
    borders = np.quantile(costs[:, 0], np.arange(1, len(_SIZES)) / len(_SIZES))
    found = []
    for number in np.unique(clusters).tolist():
        rows = np.flatnonzero(clusters == number)
        params, macs = np.median(costs[rows], 0).tolist()
        kinds = _typical(space, counts[rows].sum(0), counts.sum(0))
        size = _SIZES[int(np.searchsorted(borders, params))]
        means = float(num_ops[rows].mean()), float(depth[rows].mean())
        words = _words(size, *means, kinds, fixed=space.rules.wiring is not None)
        alike = (num_ops[rows] == round(means[0])) & (depth[rows] == round(means[1]))
        shown = rows[alike] if alike.any() else rows
        middle = np.asarray(mixture.means)[number][None]
        nearest = shown[np.square(conditions[shown] - middle).sum(1).argmin()]
        (cell,) = graphs.unpack(graphs.take(batch, nearest[None]))
        share = len(rows) / len(clusters)
        found.append(Cluster(number, share, params, macs, *means, tuple(kinds), words, cell))
    return found


def _typical(space: Space, own: Int[np.ndarray, " ops"], every: Int[np.ndarray, " ops"]):
    """Ops, or kinds of ops where a space has many, by what they have beyond their usual share."""
    kinds = [op.kind for op in space.ops]
    many = len(space.ops) > 10
    names = kinds if many else [op_label(op.kind, op.kernel) for op in space.ops]
    groups = list(dict.fromkeys(names))
    sums = np.array(
        [[side[[n == g for n in names]].sum() for g in groups] for side in (own, every)]
    )
    share, usual = sums / np.maximum(sums.sum(1, keepdims=True), 1)
    order = np.argsort(usual - share, kind="stable")
    notable = (share >= _NOTABLE) & (share >= _MORE * usual)
    return [groups[i] for i in order if notable[i]][:_MOST_OPS]


def _words(size: str, ops: float, depth: float, typical: Sequence[str], *, fixed: bool) -> str:
    """`small: 4 ops, 3 deep; much sep_conv, avg_pool`."""
    shape = "" if fixed else f": {ops:.0f} op{'s' * (round(ops) != 1)}, {depth:.0f} deep"
    return f"{size}{shape}; {'much ' + ', '.join(typical) if typical else 'ops of all kinds'}"
