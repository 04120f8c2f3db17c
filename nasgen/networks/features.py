"""What is known of a network before any weight is drawn, as a vector: input of score surrogates."""

import math

import numpy as np
from jaxtyping import Float

from nasgen.networks.costs import count
from nasgen.networks.plan import Plan, kernel_size

NAMES = (
    "layers",
    "depth",
    "sum_log_kernel",
    "sum_log_units",
    "sum_log_kernel_log_units",
    "sum_log_units_squared",
    "narrow_layers",
    "depthwise_layers",
    "pixels_1",
    "log_params",
    "log_macs",
    "log_activation_memory",
    "log_input_pixels",
    "log_classes",
)
_NARROW = 256  # output units below which a layer can hardly tell a batch's examples apart


def features(plan: Plan) -> Float[np.ndarray, " features"]:
    """The vector, in the order of `NAMES`. Sums run over conv and linear layers; natural logs."""
    steps = [step for step in plan.steps if step.layer.has_kernel]
    kernel = np.log([kernel_size(step.layer) for step in steps])
    pixels = np.array([math.prod(step.out_size) for step in steps])
    units = np.log(pixels * [step.layer.out_channels for step in steps])
    costs = count(plan)
    return np.array(
        [
            costs.layers,
            costs.depth,
            kernel.sum(),
            units.sum(),
            (kernel * units).sum(),
            (units**2).sum(),
            (units < math.log(_NARROW)).sum(),
            sum(step.layer.kind == "depthwise" for step in steps),
            (pixels == 1).sum(),
            math.log(costs.params),
            math.log(max(costs.macs, 1)),
            math.log(costs.activation_memory),
            math.log(math.prod(plan.input_shape[:-1])),
            math.log(plan.num_classes),
        ],
        np.float64,
    )
