"""Noise paired with data by optimal transport within a batch: straighter paths for flow matching.

The pairing of Tong et al. (TMLR 2024, "OT-CFM") minimises sum |noise - data|^2 over permutations.
With conditions that would leave each condition only a part of the noise, while sampling draws all
of it; so a pair also pays for noise that was drawn for another condition (Cheng & Schwing 2025):

    cost(i, j) = |noise_i - data_j|^2 + weight |condition_i - condition_j|^2

where noise i was drawn for the condition of example i. weight 0 is the unconditional pairing; the
larger it is, the closer to none. On the host.
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def paired_noise(
    rng: np.random.Generator,
    latents: Float[np.ndarray, "batch latent"],
    conditions: Float[np.ndarray, "batch condition"],
    *,
    weight: float = 0.0,
) -> Float[np.ndarray, "batch latent"]:
    """Standard normal noise, row j the one that goes with `latents[j]`; float32."""
    noise = rng.standard_normal(latents.shape)
    cost = cdist(noise, latents, "sqeuclidean")
    if weight:
        cost = cost + weight * cdist(conditions, conditions, "sqeuclidean")
    rows, columns = linear_sum_assignment(cost)
    paired = np.empty_like(noise)
    paired[columns] = noise[rows]
    return paired.astype(np.float32)
