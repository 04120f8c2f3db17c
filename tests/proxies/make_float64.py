"""Writes reference_float64.npz: scores of single layers by PyTorch's autograd in float64.

The scores in `golden_scores.npz` were computed in float32, where a ReLU whose input lies within
rounding of zero falls on one side or the other: in single layers that moves SNIP by several per
cent, in any implementation. These are the same definitions on the same weights in float64, which
leaves nothing to chance. Needs torch (2.13.0) beside nasgen; no test does.

    PYTHONPATH=. python tests/proxies/make_float64.py ../shared/reference
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from nasgen.benchmarks.reference import to_torch
from tests.proxies.reference_networks import Reference, load

SCORES = ("snip", "snr_snip_none", "grad_norm", "grasp")


def forward(network: Reference) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits with batch statistics, and the kernels that they depend on."""
    values, kernels = [torch.tensor(network.images.transpose(0, 3, 1, 2)).double()], []
    for step, weights in zip(network.plan.steps, network.weights, strict=True):
        layer = step.layer
        x = sum(values[i] for i in step.inputs)
        x = F.relu(x) if layer.relu else x
        if layer.has_kernel:
            kernel = torch.tensor(to_torch(layer.kind, weights["kernel"])).double()
            kernels.append(kernel.requires_grad_())
            bias = torch.tensor(weights["bias"]).double() if layer.bias else None
        if layer.kind == "linear":
            x = F.linear(x.mean((2, 3)), kernels[-1], bias)
        elif layer.has_kernel:
            padding = layer.dilation * (layer.kernel - 1) // 2
            groups = layer.in_channels if layer.kind == "depthwise" else 1
            shape = (layer.stride, padding, layer.dilation, groups)
            x = F.conv2d(x, kernels[-1], bias, *shape)
        elif layer.kind == "avg_pool":
            padding = (layer.kernel - 1) // 2
            x = F.avg_pool2d(x, layer.kernel, layer.stride, padding, count_include_pad=False)
        values.append(F.batch_norm(x, None, None, training=True) if layer.norm != "none" else x)
    return values[-1], kernels


def scores(network: Reference) -> np.ndarray:
    """`[layers, SCORES]`."""
    logits, kernels = forward(network)
    loss = F.cross_entropy(logits, torch.tensor(network.labels).long())
    unread = dict(allow_unused=True, materialize_grads=True)
    gradients = torch.autograd.grad(loss, kernels, create_graph=True, **unread)
    along = sum((g.detach() * g).sum() for g in gradients)
    curvature = torch.autograd.grad(along, kernels, **unread)
    rows = []
    for kernel, g, h in zip(kernels, gradients, curvature, strict=True):
        saliency = (kernel * g).abs().flatten()
        deviation = saliency.std() if saliency.numel() > 1 else torch.zeros(())
        snr = saliency.sum() / deviation if deviation > 0 else saliency.sum()
        row = (saliency.sum(), snr, g.norm(), -(kernel * h).sum())
        rows.append([one.item() for one in row])
    return np.array(rows)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = {f"network_{i}": scores(load(folder, i)) for i in range(8)}
    np.savez_compressed(Path(__file__).with_name("reference_float64.npz"), **found)
