"""SNIP (Lee et al., ICLR 2019): how much the loss depends on each weight, |theta * dL/dtheta|.

As a proxy the saliencies are summed (Abdelfattah et al., ICLR 2021); `snip_snr` divides each
layer's sum by its standard deviation, a signal-to-noise ratio.
"""

import numpy as np
from jaxtyping import Float

from nasgen.proxies.proxy import Passes


def saliencies(passes: Passes) -> list[np.ndarray]:
    """|theta * dL/dtheta| of each layer, flat, float64."""
    pairs = zip(passes.kernels, passes.gradients, strict=True)
    return [np.abs(kernel * gradient).ravel().astype(np.float64) for kernel, gradient in pairs]


def snip(passes: Passes) -> float:
    """Sum over layers and weights."""
    return float(sum(saliency.sum() for saliency in saliencies(passes)))


def layer_snr(passes: Passes) -> Float[np.ndarray, " layers"]:
    """Each layer's sum over its unbiased standard deviation; the bare sum where that is zero."""
    return np.array([_snr(saliency) for saliency in saliencies(passes)])


def _snr(saliency: np.ndarray) -> float:
    deviation = saliency.std(ddof=1) if saliency.size > 1 else 0.0
    return float(saliency.sum() / deviation) if deviation > 0 else float(saliency.sum())


def snip_snr(passes: Passes) -> float:
    """Sum of the layers' ratios."""
    return float(layer_snr(passes).sum())
