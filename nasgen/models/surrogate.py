"""A surrogate of an expensive score: ridge regression on features of a network and their products.

Fitted once on many scored networks and shipped; refined in a search on the few exact scores of the
task at hand. Small, closed-form, with nothing to tune but the ridge.
"""

from collections.abc import Callable
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


def refine(
    prior: Callable[[Float[np.ndarray, "rows features"]], Float[np.ndarray, " rows"]],
    features: Float[np.ndarray, "networks features"],
    scores: Float[np.ndarray, " networks"],
    candidates: Float[np.ndarray, "candidates features"],
    *,
    ridge: float = 3.0,
) -> Float[np.ndarray, " candidates"]:
    """Predictions for `candidates` corrected by exact scores of this task.

    The prior prediction (of a shipped surrogate) becomes one unpenalised input; the features may
    correct it linearly as far as the ridge lets them."""
    expected = prior(features)
    center, spread = expected.mean(), expected.std() + 1e-9
    mean, scale = features.mean(0), features.std(0) + 1e-6

    def inputs(x):
        linear = np.clip((x - mean) / scale, -3, 3)
        return np.column_stack([linear, (prior(x) - center) / spread, np.ones(len(x))])

    weights = _solve(inputs(features), scores, ridge, free=2)
    return inputs(candidates) @ weights


def _expand(x: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(x.shape[1])
    return np.column_stack([x, x[:, rows] * x[:, columns], np.ones(len(x))])


def _solve(inputs: np.ndarray, targets: np.ndarray, ridge: float, *, free: int = 1) -> np.ndarray:
    """Ridge regression; the last `free` inputs are not penalised."""
    penalty = np.full(inputs.shape[1], ridge)
    penalty[-free:] = 1e-6
    gram = inputs.T @ inputs + np.diag(penalty)
    return np.linalg.solve(gram, inputs.T @ targets)
