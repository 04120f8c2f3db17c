"""Scores of single layers against the PyTorch reference, on eight small random networks.

The reference's values and how they came about: README.md beside `golden_scores.npz`.
"""

import json

import jax
import numpy as np
import pytest

from nasgen.networks import walks
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import PROGRAMS
from nasgen.spaces import SPACES, formats
from nasgen.types import Task

OPEN = SPACES["open"]
PASSES = ("gradients", "codes", "synflow")


def golden(reference_dir) -> tuple[list[dict], dict]:
    with np.load(reference_dir / "golden_scores.npz") as arrays:
        arrays = dict(arrays)
    return json.loads(bytes(arrays["networks"]).decode()), arrays


def from_torch(layer, arrays, name: str) -> walks.Weights:
    """OIHW to HWIO, a depthwise O1HW to HWO, a linear OI to IO."""
    kernel = arrays[f"{name}/weight"]
    if layer.kind == "linear":
        kernel = kernel.T
    elif layer.kind == "depthwise":
        kernel = kernel[:, 0].transpose(1, 2, 0)
    else:
        kernel = kernel.transpose(2, 3, 1, 0)
    return {"kernel": kernel} | ({"bias": arrays[f"{name}/bias"]} if layer.bias else {})


def layer_scores(plan: Plan, weights, images, labels) -> dict[str, np.ndarray]:
    """SNIP, its signal-to-noise ratio, log det of code agreements, log synflow: of each layer."""
    padded = walks.pad_plan(plan, weights)
    forward = walks.walk_forward(plan, padded, images, PROGRAMS.run)
    gradients = walks.walk_backward(plan, padded, forward, labels, PROGRAMS.run)
    agreements = jax.device_get(walks.walk_codes(plan, padded, images, PROGRAMS.run))
    flows = walks.walk_synflow(plan, padded, PROGRAMS.run)
    rows = [
        (step, w["kernel"], walks.true_gradient(step.layer, g), flow)
        for step, w, g, flow in zip(
            plan.steps, weights, jax.device_get(gradients), flows, strict=True
        )
        if step.layer.has_kernel
    ]
    saliencies = [np.abs(w * g).ravel().astype(np.float64) for _, w, g, _ in rows]
    sums = np.array([s.sum() for s in saliencies])
    deviations = np.array([s.std(ddof=1) for s in saliencies])
    kernels = [
        k.astype(np.float64) - walks.padded_units(step)
        for k, (step, *_) in zip(agreements, rows, strict=True)
    ]
    sign, log_det = np.linalg.slogdet(np.stack(kernels))
    return {
        "snip": sums,
        "snr": sums / np.where(deviations > 0, deviations, 1),
        "nwot": np.where(sign == 0, 0, log_det),
        "synflow": np.array([-np.inf if flow is None else flow for *_, flow in rows]),
    }


@pytest.mark.parametrize(
    "index", [0, 6, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2, 3, 4, 5, 7))]
)
def test_scores_are_those_of_the_pytorch_reference(reference_dir, index):
    networks, arrays = golden(reference_dir)
    network, scores = networks[index], networks[index]["scores"]
    architecture = formats.architecture_from_json(network["architecture"], OPEN)
    plan = make_plan(architecture, OPEN.ops, Task("golden", (16, 16, 3), 10))
    numbers = iter(range(len(network["layers"])))
    weights = [
        from_torch(s.layer, arrays, f"{index}/{next(numbers)}") if s.layer.has_kernel else {}
        for s in plan.steps
    ]
    assert next(numbers, None) is None  # as many layers, in the same order
    images, labels = arrays["x_nhwc"], arrays["y"].astype(np.int32)
    walks.compile_for([plan], PASSES, len(images))
    ours = layer_scores(plan, weights, images, labels)

    # Codes are whole numbers, but the two float32 forwards may put a unit on zero's other side: one
    # or two of thousands, and the determinant of a nearly singular matrix notices.
    theirs = np.array(scores["lnwot"])
    np.testing.assert_allclose(ours["nwot"], theirs, atol=1e-2)
    assert np.median(np.abs(ours["nwot"] - theirs)) < 1e-4
    # Float64 there, float32 with scaling here; no ReLU, nothing to flip. -inf: nobody reads it.
    with np.errstate(divide="ignore"):
        theirs = np.log(scores["synflow"])
    np.testing.assert_allclose(ours["synflow"], theirs, atol=5e-6)
    # A unit on zero's other side also changes gradients: by up to 6 % in a single layer, far below
    # that in most. Depthwise kernels of size 1 before a batch norm are left out: their gradient is
    # zero in theory, and noise in both float32 computations.
    zero = [
        s.layer.kind == "depthwise" and s.layer.kernel == 1 and s.layer.norm != "none"
        for s in plan.steps
        if s.layer.has_kernel
    ]
    for name, key in (("snip", "snip"), ("snr", "snr_snip_none")):
        theirs = np.array(scores[key])
        error = np.abs(ours[name] - theirs) / np.maximum(theirs, 1e-6)
        error = error[~np.array(zero)]
        assert np.median(error) < 5e-3 and error.max() < 0.1, (name, error)
    t_cet = (ours["nwot"] * np.log1p(ours["snr"])).sum()
    np.testing.assert_allclose(t_cet, np.sum(scores["tcet_snip_log1p"]), rtol=3e-4)
