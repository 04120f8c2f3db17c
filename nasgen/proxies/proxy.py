"""What a zero-cost proxy is: a pure function of what a few shared passes say about one network.

A pass runs once for all proxies that name it (`passes.PASSES` makes them). Lists and first axes
run over conv and linear layers in execution order, unless said otherwise. Batch norm uses batch
statistics unless said otherwise; the loss is the mean cross-entropy of the batch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num, UInt32

from nasgen.types import Costs

Arrays = Sequence[np.ndarray]  # one a layer


class Zen(NamedTuple):
    """A network with normal weights on normal noise, and how far a little noise moves it.

    distances: of each example, sum |f(x) - f(x + 0.01 noise)| over the features before pooling.
    variances: of each batch norm, the mean of its running variance after both forwards.
    """

    distances: Float[np.ndarray, " batch"]
    variances: Float[np.ndarray, " norms"]


class Blocks(NamedTuple):
    """What AZ-NAS reads off the outputs of stem and cells.

    covariances: of each block, `[channels, channels]`, of its output over batch and pixels.
    transfers: of each block but the first, `[in, out]`: mean over batch and pixels of (gradient by
        the block's input) x (random signs at its output), a coarser output's input unshuffled.
    """

    covariances: Arrays
    transfers: Arrays


class Passes(NamedTuple):
    """The results of the passes over one network; None where no proxy asked for it.

    targets: of the batch: classes, or as the plan's loss wants them (`Plan.target_shape`).
    kernels: weights at their true shapes (HWIO, HWO for depthwise, IO for linear).
    gradients: of the loss, by each kernel. half_gradients: the same for the first and the second
        half of the batch, each alone. curvature: the Hessian of the loss times `gradients`.
    products: sum over pixels of output times the loss's gradient by it, `[batch, out]`; the output
        before batch norm.
    jacobian: of the sum of all logits by each example's pixels.
    sign_sums: sum over examples of the sign of the gradient of its own loss, alone in its batch.
    ntk: inner products of the gradients by all kernels of each example's sum of logits.
    relu_agreements: units with equal sign for each pair of examples, exact integers, at every
        ReLU's input. fresh_relu_agreements, agreements: the same in evaluation mode with fresh
        running statistics, at every ReLU's input, at every layer's output.
    patterns: of every ReLU, its input's signs: bit `i % 32` of word `i // 32` says whether example
        `i` is positive there.
    synflow: log of sum |kernel * dR/dkernel|, -inf for a layer that nobody reads.
    synflow_snr: log of that sum over its standard deviation (unbiased; the bare sum where zero).
    """

    costs: Costs
    kernels: Arrays
    targets: Num[np.ndarray, "batch *target"]
    num_classes: int
    gradients: Arrays | None = None
    half_gradients: tuple[Arrays, Arrays] | None = None
    curvature: Arrays | None = None
    products: Arrays | None = None
    jacobian: Float[np.ndarray, "batch inputs"] | None = None
    sign_sums: Arrays | None = None
    ntk: Float[np.ndarray, "examples examples"] | None = None
    agreements: Float[np.ndarray, "layers batch batch"] | None = None
    relu_agreements: Float[np.ndarray, "relus batch batch"] | None = None
    fresh_relu_agreements: Float[np.ndarray, "relus batch batch"] | None = None
    patterns: Sequence[UInt32[np.ndarray, "words units"]] | None = None
    synflow: Float[np.ndarray, " layers"] | None = None
    synflow_snr: Float[np.ndarray, " layers"] | None = None
    zen: Zen | None = None
    blocks: Blocks | None = None


class Proxy(NamedTuple):
    """needs: the fields of `Passes` that `function` reads beyond the first four.
    function: a network's score from its passes."""

    needs: tuple[str, ...]
    function: Callable[[Passes], float]


class Ensemble(NamedTuple):
    """A score that depends on the pool it is computed in: `combine` makes it from the scores of the
    proxies named in `parts`, `[parts, networks]`, none of them NaN (infinities may be)."""

    parts: tuple[str, ...]
    combine: Callable[[Float[np.ndarray, "parts networks"]], Float[np.ndarray, " networks"]]
