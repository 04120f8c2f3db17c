"""Scores of single layers against PyTorch on eight small networks, in float64 and float32."""

from pathlib import Path

import jax
import numpy as np
import pytest

from nasgen.proxies.grasp import layer_grasp
from nasgen.proxies.nwot import layer_log_det, nwot_fresh, nwot_outputs
from nasgen.proxies.passes import compile_for, run_passes
from nasgen.proxies.proxy import Passes
from nasgen.proxies.snip import layer_snr, saliencies
from nasgen.proxies.synflow import synflow
from nasgen.proxies.t_cet import t_cet
from tests.proxies.reference_networks import Reference, load

NEEDS = ("gradients", "curvature", "agreements", "fresh_relu_agreements", "synflow")
FLOAT64 = Path(__file__).with_name("reference_float64.npz")  # by make_float64.py
SLOW = [pytest.param(i, marks=pytest.mark.slow) for i in range(1, 8)]


def passes_of(network: Reference, needs, dtype) -> Passes:
    with jax.enable_x64(dtype == np.float64):
        compile_for([network.plan], needs, len(network.images), dtype=dtype)
        return run_passes(
            network.plan, network.weights, network.images, network.labels, needs, dtype=dtype
        )


def layer_scores(passes: Passes) -> np.ndarray:
    """SNIP, its signal-to-noise ratio, gradient norm, GraSP: `[layers, 4]`."""
    columns = (
        [one.sum() for one in saliencies(passes)],
        layer_snr(passes),
        [np.linalg.norm(g) for g in passes.gradients],
        layer_grasp(passes),
    )
    return np.stack([np.asarray(column, float) for column in columns], 1)


@pytest.mark.parametrize("index", [0, *SLOW])
def test_layers_are_those_of_pytorch_in_float64(reference_dir, index):
    """To 1e-8 of a score (or 1e-12 of the network's largest: depthwise kernels of size 1 before a
    batch norm have a gradient of zero, in theory), where the issue at hand asks 1e-4."""
    ours = layer_scores(passes_of(load(reference_dir, index), NEEDS[:2], np.float64))
    with np.load(FLOAT64) as file:
        theirs = file[f"network_{index}"]
    for column, expected in zip(ours.T, theirs.T, strict=True):
        largest = np.abs(expected).max()
        dead = np.abs(expected) < 1e-9 * largest
        np.testing.assert_allclose(column[~dead], expected[~dead], rtol=1e-8)
        np.testing.assert_allclose(column[dead], expected[dead], atol=1e-8 * largest)


@pytest.mark.parametrize("index", [0, *SLOW])
def test_scores_are_those_of_the_reference_library(reference_dir, index):
    """In float32 as it ran, so up to ReLUs that rounding flips (see make_float64.py)."""
    network = load(reference_dir, index)
    passes, scores = passes_of(network, NEEDS, np.float32), network.record["scores"]
    assert passes.costs.params == network.record["params"]
    # K holds whole numbers and is singular or at least 1, which the reference does not look for.
    theirs = np.maximum(scores["lnwot"], 0)
    np.testing.assert_allclose(layer_log_det(passes), theirs, atol=1e-2)
    assert np.median(np.abs(layer_log_det(passes) - theirs)) < 1e-5
    np.testing.assert_allclose(nwot_outputs(passes), scores["nwot"], rtol=1e-5)
    np.testing.assert_allclose(nwot_fresh(passes), scores["nwot_relu"], rtol=1e-5)
    np.testing.assert_allclose(np.exp(passes.synflow), scores["synflow"], rtol=1e-5)
    np.testing.assert_allclose(synflow(passes), np.log(np.sum(scores["synflow"])), rtol=1e-7)
    np.testing.assert_allclose(
        t_cet(passes), np.maximum(scores["tcet_snip_log1p"], 0).sum(), rtol=3e-4
    )
    names = ("snip", "snr_snip_none", "grad_norm", "grasp")
    for name, ours in zip(names, layer_scores(passes).T, strict=True):
        theirs = np.array(scores[name])
        errors = np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-3 * np.abs(theirs).max())
        assert np.median(errors) < 5e-3, name
