"""What a zero-cost proxy is: a pure function of what a few shared passes say about one network.

Passes run once for all proxies that need them:
- `gradients`: the loss's gradient by every kernel, on one batch, at initialisation;
- `codes`: agreement of binary codes at every conv's and linear's output (evaluation mode);
- `synflow`: log of the synaptic flow through every kernel, without batch norm.
Lists and first axes run over conv and linear layers in execution order.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nasgen.types import Costs

PASSES = ("gradients", "codes", "synflow")


class Passes(NamedTuple):
    """The results of the passes over one network; None where no proxy asked for it.

    kernels, gradients: arrays of each layer, float32, at their true shapes.
    agreements: units with equal sign for each pair of examples, exact integers.
    synflow: log of sum |kernel * dR/dkernel|, -inf for a layer that nobody reads.
    """

    costs: Costs
    kernels: Sequence[np.ndarray]
    gradients: Sequence[np.ndarray] | None = None
    agreements: Float[np.ndarray, "layers batch batch"] | None = None
    synflow: Float[np.ndarray, " layers"] | None = None


class Proxy(NamedTuple):
    """needs: the passes that `function` reads. function: a network's score from its passes."""

    needs: tuple[str, ...]
    function: Callable[[Passes], float]
