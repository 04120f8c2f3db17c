"""Fisher (Turner et al., ICLR 2020; as a proxy in Abdelfattah et al., ICLR 2021).

Of each output channel of a layer, 1/2 mean_n (sum over pixels of a * dL/da)^2 with a the layer's
output before batch norm and n the examples, counted once for every weight of the channel: k k C_in
of a convolution, k k of a depthwise one, C_in of a linear layer. L is the mean over the batch.
"""

import numpy as np

from nasgen.proxies.proxy import Passes


def fisher(passes: Passes) -> float:
    """Sum over layers, channels and their weights."""
    return float(
        sum(
            kernel.size
            / kernel.shape[-1]
            * 0.5
            * np.square(product.astype(np.float64)).mean(0).sum()
            for kernel, product in zip(passes.kernels, passes.products, strict=True)
        )
    )
