"""How a network is wired, as a vector beside `features`: paths, sizes, widths, kinds of layers.

Paths run from the images to the logits; their length is a number of conv and linear layers.
"""

import math

import numpy as np
from jaxtyping import Float

from nasgen.networks.plan import Plan, Step, kernel_size

NAMES = (
    "shortest_path",
    "mean_path",
    "log_paths",
    "log_last_pixels",
    "log_last_width",
    "log_least_width",
    "log_mean_pixels",
    "log_mean_width",
    "macs_at_full_size",
    "macs_depthwise",
    "macs_dense",
    "params_late",
    "pool_layers",
    "relu_layers",
    "log_receptive_field",
)


def topology(plan: Plan) -> Float[np.ndarray, " features"]:
    """The vector, in the order of `NAMES`. Natural logs; `mean_` weighs layers by their MACs,
    `macs_` and `params_` are shares of the network's."""
    steps = [step for step in plan.steps if step.layer.has_kernel]
    sizes = np.array([kernel_size(step.layer) for step in steps], float)
    pixels = np.array([math.prod(step.out_size) for step in steps], float)
    widths = np.array([step.layer.out_channels for step in steps], float)
    macs = sizes * pixels
    share = macs / macs.sum()
    kinds = np.array([step.layer.kind for step in steps])
    dense = (kinds == "conv") & np.array([step.layer.kernel > 1 for step in steps])
    convolutions = kinds != "linear"
    last = plan.steps[plan.features - 1]
    shortest, mean, log_paths = _paths(plan)
    return np.array(
        [
            shortest,
            mean,
            log_paths,
            math.log(math.prod(last.out_size)),
            math.log(last.layer.out_channels),
            math.log(widths[convolutions].min()),
            (share * np.log(pixels)).sum(),
            (share * np.log(widths)).sum(),
            share[pixels == pixels.max()].sum(),
            share[kinds == "depthwise"].sum(),
            share[dense].sum(),
            sizes[2 * len(sizes) // 3 :].sum() / sizes.sum(),
            sum(step.layer.kind in ("avg_pool", "max_pool") for step in plan.steps),
            sum(step.layer.relu for step in plan.steps),
            math.log(_receptive_field(plan)),
        ],
        np.float64,
    )


def _paths(plan: Plan) -> tuple[float, float, float]:
    """The shortest path; the mean one, where each sum is left by any of its inputs alike; the
    logarithm of their number."""
    shortest, mean, logs = [0.0], [0.0], [0.0]
    for step in plan.steps:
        own = float(step.layer.has_kernel)
        shortest.append(min(shortest[i] for i in step.inputs) + own)
        mean.append(sum(mean[i] for i in step.inputs) / len(step.inputs) + own)
        own_logs = [logs[i] for i in step.inputs]
        logs.append(own_logs[0] if len(own_logs) == 1 else float(np.logaddexp.reduce(own_logs)))
    return shortest[-1], mean[-1], logs[-1]


def _receptive_field(plan: Plan) -> int:
    """Pixels along a side that reach the last features, by the widest path."""
    fields = [1]
    for step in plan.steps:
        fields.append(max(fields[i] for i in step.inputs) + _reach(plan, step))
    return fields[-1]


def _reach(plan: Plan, step: Step) -> int:
    coarse = max(round(plan.input_shape[0] / step.in_size[0]), 1)
    windows = step.layer.has_kernel or step.layer.kind in ("avg_pool", "max_pool")
    return coarse * (step.layer.kernel - 1) * step.layer.dilation if windows else 0
