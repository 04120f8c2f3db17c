"""Latency of whole networks in milliseconds, predicted from a table of layers' times.

Two fits of relative errors by non-negative weights, so that a larger layer or one layer more never
makes a network faster:

    layer   = w . (1, operations, values read, values written, window values)   one w a group
    network = f . (1, sum of its layers, arrays of weights, values summed)

`w` is fitted on the table, a group of layers at a time (`group`); `f` on a few networks measured
whole: XLA fuses a norm with the next layer's ReLU and runs independent layers side by side, and
every array that is passed in costs some time. Predicting compiles and measures nothing.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from nasgen.networks.latency import Signature, Table, live_steps, signature
from nasgen.networks.plan import Layer, Plan, size_after, weight_shapes

_SMALL_MS = 5e-3  # below it a layer's error counts as absolute: timer noise
_FOLDS = 5
_ROUNDS, _ALIKE = 12, 0.05  # of reweighting; relative errors that weigh alike


class Predictor(NamedTuple):
    """A fitted model: `layers` holds `w` of each group, `network` holds `f`; see above.

    device, batch: of the table. A network's prediction is for that batch on that device."""

    device: str
    batch: int
    layers: dict[str, tuple[float, ...]]
    network: tuple[float, ...]


def group(layer: Layer) -> str:
    """Layers that share a regression: of one kind, with and without a window."""
    return f"{layer.kind}_{'point' if layer.kernel == 1 else 'window'}"


@cache
def _layer_terms(layer: Layer, size: tuple[int, int]) -> tuple[float, ...]:
    pixels = math.prod(size)
    after = math.prod(size_after(layer, size))
    kernel = weight_shapes(layer).get("kernel", (*layer.window, layer.out_channels))
    window = math.prod(layer.window) * layer.in_channels * after if layer.kind == "conv" else 0
    read, written = pixels * layer.in_channels, after * layer.out_channels
    return (1.0, math.prod(kernel) * after, read, written, window)


def fit_layers(layers: Mapping[Signature, float]) -> dict[str, tuple[float, ...]]:
    """The regression of each group that a table of ms holds."""
    rows: dict[str, list[tuple[Signature, float]]] = {}
    for one, ms in layers.items():
        rows.setdefault(group(one[0]), []).append((one, ms))
    return {
        name: _solve(
            np.array([_layer_terms(*one) for one, _ in members], float),
            np.array([ms for _, ms in members]),
            small=_SMALL_MS,
            rounds=_ROUNDS,
        )
        for name, members in rows.items()
    }


def held_out(table: Table) -> tuple[Float[np.ndarray, " layers"], Float[np.ndarray, " layers"]]:
    """Predicted and measured ms of each layer, predicted by a fit on four fifths without it."""
    items = list(table.layers.items())
    predicted = np.full(len(items), np.nan)
    for fold in range(_FOLDS):
        fitted = fit_layers({k: ms for i, (k, ms) in enumerate(items) if i % _FOLDS != fold})
        for i in range(fold, len(items), _FOLDS):
            layer, size = items[i][0]
            if group(layer) in fitted:
                predicted[i] = np.dot(fitted[group(layer)], _layer_terms(layer, size))
    return predicted, np.array([ms for _, ms in items])


def fit(table: Table, plans: Sequence[Plan], ms: Float[np.ndarray, " plans"]) -> Predictor:
    """The predictor of a table and of networks measured whole (`ms`, at the table's batch)."""
    layers = fit_layers(table.layers)
    terms = np.array([_network_terms(layers, plan) for plan in plans])
    return Predictor(table.device, table.batch, layers, _solve(terms, np.asarray(ms, float)))


def predict(predictor: Predictor, plans: Sequence[Plan]) -> Float[np.ndarray, " plans"]:
    """Predicted ms of each network. Raises ValueError for a layer of a group without a fit."""
    terms = [_network_terms(predictor.layers, plan) for plan in plans]
    return np.array(terms).reshape(len(plans), len(predictor.network)) @ np.array(predictor.network)


def _network_terms(layers: Mapping[str, tuple[float, ...]], plan: Plan) -> tuple[float, ...]:
    total, arrays, summed = 0.0, 0, 0
    for step in live_steps(plan):
        layer, size = signature(step)
        name = group(layer)
        if name not in layers:
            raise ValueError(f"`plans` must hold layers like {sorted(layers)}; got {name!r}.")
        terms = zip(layers[name], _layer_terms(layer, size), strict=True)
        total += sum(weight * term for weight, term in terms)
        arrays += len(weight_shapes(layer)) + 2 * (layer.norm != "none")
        summed += len(step.inputs) * math.prod(size) * layer.in_channels
    return (1.0, total, arrays, summed)


def _solve(
    terms: np.ndarray, ms: np.ndarray, *, small: float = 0.0, rounds: int = 1
) -> tuple[float, ...]:
    """Non-negative weights by least squares of relative errors (`small` ms are added to each time).
    Further rounds weight each error by one over its size, and come near to least absolute errors
    of logarithms: a disturbed measurement then counts little."""
    scales = np.maximum(terms.max(0), 1e-30)
    scaled, errors = terms / scales, ms + small
    sizes = np.ones(len(ms))
    for _ in range(rounds):
        factors = 1 / (errors * np.sqrt(sizes))
        weights, _ = nnls(scaled * factors[:, None], ms * factors)
        predicted = scaled @ weights
        errors = np.sqrt((predicted + small) * (ms + small))  # the same for twice and for half
        errors = np.maximum(errors, 1e-12)
        sizes = np.maximum(np.abs(predicted - ms) / errors, _ALIKE)
    return tuple((weights / scales).tolist())


def predictor_to_json(predictor: Predictor) -> dict[str, Any]:
    """The predictor as plain values; `predictor_from_json` reads it back."""
    layers = {name: list(weights) for name, weights in predictor.layers.items()}
    return {**predictor._asdict(), "layers": layers, "network": list(predictor.network)}


def predictor_from_json(values: dict[str, Any]) -> Predictor:
    """The predictor of `predictor_to_json`. Raises ValueError where `values` is none."""
    try:
        layers = {name: tuple(map(float, one)) for name, one in values["layers"].items()}
        network = tuple(map(float, values["network"]))
        return Predictor(values["device"], values["batch"], layers, network)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"`values` must be a latency predictor; got {error!r}.") from None
