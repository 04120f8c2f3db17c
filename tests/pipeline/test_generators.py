"""Which cells survive a change of the macro architecture; what draws cells."""

import jax
import numpy as np
import pytest

from nasgen.models import mixture
from nasgen.pipeline.cell_generator import conditions_of, write_cells
from nasgen.pipeline.generators import kept_cells
from nasgen.pretrained.bundle import load_cells
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import macro as macro_space
from nasgen.statistics import spearman
from nasgen.types import Architecture, MacroArchitecture, Stage

A, B, C = graphs.unpack(SPACES["open"].sample(jax.random.key(0), 3))
STAGES = (Stage(0, 8, 1, 2), Stage(1, 16, 2, 4), Stage(2, 32, 1, 1))
OLD = Architecture(MacroArchitecture(STAGES, 64), (A, B, C))


@pytest.mark.parametrize(
    ("stages", "cells"),
    [
        (STAGES, [A, B, C]),
        ((STAGES[0], STAGES[2]), [A, C]),  # the middle stage removed: the last keeps its own cell
        (STAGES[1:], [B, C]),
        (STAGES[:2], [A, B]),
        ((STAGES[0], STAGES[1], STAGES[1]._replace(stride=1, repeats=2), STAGES[2]), [A, B, B, C]),
        ((STAGES[0], STAGES[1]._replace(channels=24), STAGES[2]), [A, B, C]),
        ((STAGES[0], STAGES[1]._replace(cluster=3), STAGES[2]), [A, None, C]),  # another cluster
    ],
)
def test_every_stage_keeps_its_cell(stages, cells):
    assert kept_cells(OLD, MacroArchitecture(stages, 64)) == cells


def test_a_fresh_cell_only_where_the_cluster_changed():
    for seed in range(200):
        new = macro_space.mutate(jax.random.key(seed), OLD.macro, num_clusters=4, size=32)
        kept = kept_cells(OLD, new)
        assert len(kept) == len(new.stages)
        clusters = {stage.cluster: cell for stage, cell in zip(STAGES, OLD.cells, strict=True)}
        for stage, cell in zip(new.stages, kept, strict=True):
            assert cell is None or cell == clusters[stage.cluster]


@pytest.mark.parametrize(("source", "least", "most"), [("flow", 0.9, 1), ("sampler", -0.3, 0.3)])
def test_the_flow_draws_what_is_asked_for_and_the_sampler_does_not(source, least, most):
    bundle = load_cells("open")
    clusters = np.arange(96) % len(bundle.mixture.weights)
    wanted = mixture.sample(jax.random.key(0), bundle.mixture, clusters)
    cells = write_cells(bundle._replace(source=source), jax.random.key(1), wanted)
    found = conditions_of(bundle, cells)
    for place in (bundle.names.index("log_params"), bundle.names.index("log_macs")):
        assert least <= spearman(wanted[:, place], found[:, place]) <= most


def test_the_decoder_hears_the_condition_of_the_priors_latents_too():
    bundle = load_cells("open")
    wanted = np.repeat([[-1.0, -1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]], 32, 0).astype(np.float32)
    cells = write_cells(bundle._replace(source="prior"), jax.random.key(1), wanted)
    params = conditions_of(bundle, cells)[:, bundle.names.index("log_params")]
    assert np.median(params[:32]) < -0.5 and np.median(params[32:]) > 0.5
