"""A surrogate of an expensive score: ridge regression on features of a network and their products.

Fitted once on many scored networks and shipped; a search corrects it by its own exact scores, see
`search.belief`. Small, closed-form, with nothing to tune but the ridge.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Surrogate(NamedTuple):
    """mean, scale: of the features. weights: of the expanded, standardised features; the last is
    the intercept."""

    mean: Float[np.ndarray, " features"]
    scale: Float[np.ndarray, " features"]
    weights: Float[np.ndarray, " expanded"]


def fit_surrogate(
    features: Float[np.ndarray, "networks features"],
    scores: Float[np.ndarray, " networks"],
    *,
    ridge: float = 1.0,
) -> Surrogate:
    """Least squares with an L2 penalty `ridge` on everything but the intercept."""
    mean, scale = features.mean(0), features.std(0) + 1e-6
    expanded = _expand((features - mean) / scale)
    return Surrogate(mean, scale, _solve(expanded, scores, ridge))


def predict(
    surrogate: Surrogate, features: Float[np.ndarray, "networks features"]
) -> Float[np.ndarray, " networks"]:
    """Predicted scores."""
    standardised = np.clip((features - surrogate.mean) / surrogate.scale, -6, 6)
    return _expand(standardised) @ surrogate.weights


def _expand(x: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(x.shape[1])
    return np.column_stack([x, x[:, rows] * x[:, columns], np.ones(len(x))])


def _solve(inputs: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Ridge regression; the last input, the intercept's, is not penalised."""
    penalty = np.full(inputs.shape[1], ridge)
    penalty[-1] = 1e-6
    gram = inputs.T @ inputs + np.diag(penalty)
    return np.linalg.solve(gram, inputs.T @ targets)
