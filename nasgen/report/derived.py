"""Figures of `RESULTS.md` that follow from those of several runs, or of several names of one.

Each is a function of all runs (`kept_results.load`); in a template it is `{{derived: NAME | ...}}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

Runs = Mapping[str, Mapping[str, Any]]

SHIPPED = ("cells_open", "cells_nb201", "cells_nb101", "macro_open", "accuracy_open")
_AUTHORS = ("cifar", "imagenet450m")
_SAME = ("batch norm", "convolution/kernel 3")  # forward, the same program in both lowerings


def _asked(runs: Runs) -> int:
    return runs["bench_budget"]["requests"] * len(runs["bench_budget"]["seeds"])


def _answered(runs: Runs) -> int:
    return _asked(runs) - runs["bench_budget"]["impossible"]


def _generator_seconds(runs: Runs) -> float:
    return sum(runs[name]["seconds_total"] for name in ("cells_open", "macro_open"))


def _beaten_by(strange: str) -> Callable[[Runs], float]:
    """The share of held-out cells that are likelier than one that no sampler draws."""
    return lambda runs: 1 - runs["bench_generation"][f"open/density/strange/{strange}"]


def _images_ahead(runs: Runs) -> int:
    """By how many validation images (there are as many for the test) the winner led at last."""
    run = runs["quickstart"]
    best, other = sorted(run["finalists/rounds/1/values"], reverse=True)
    return round((best - other) * run["test_examples"])


def _ahead(runs: Runs) -> list[float]:
    """How far the winner was before the network drawn at random, the last, after the first round:
    least and most over the tasks of images."""
    found = []
    for name in ("own_photos", "own_fashion", "own_maps"):
        values = runs[name]["finalists/rounds/0/values"]
        found.append(values[runs[name]["finalists/winner"]] - values[-1])
    return [min(found), max(found)]


def _depthwise(side: str) -> Callable[[Runs], float]:
    """Milliseconds of all depthwise convolutions in a training step of the generated network."""
    parts = "generated/parts/"
    return lambda runs: sum(
        value[side]
        for key, value in runs["bench_training"].items()
        if key.startswith(f"{parts}depthwise") and isinstance(value, dict)
    )


def _over_authors(name: str) -> Callable[[Runs], list[float]]:
    """nasgen's best T-CET over the best of the authors', of each seed."""

    def ratios(runs: Runs) -> list[float]:
        run = runs["bench_authors"]
        both = run[f"{name}/best_score/all"], run[f"{name}/authors_best_score/all"]
        return [ours / theirs for ours, theirs in zip(*both, strict=True)]

    return ratios


def _speedups(runs: Runs) -> dict[str, float]:
    """Native over chosen milliseconds of every case of the lowerings."""
    return {
        key: value["native_ms"] / value["chosen_ms"]
        for key, value in runs["bench_lowerings"].items()
        if isinstance(value, dict) and "native_ms" in value
    }


def _slower(runs: Runs) -> list[str]:
    """Forward cases whose chosen form is slower than the native one by more than the noise."""
    least = 1 / (1 + _noise(runs))
    factors = _speedups(runs)
    return [key for key in factors if factors[key] < least and key.endswith("forward")]


def _noise(runs: Runs) -> float:
    """How far the times of one and the same program differ at most, as a share."""
    same = [
        factor
        for key, factor in _speedups(runs).items()
        if key.startswith(_SAME) and key.endswith("forward")
    ]
    return max(max(factor, 1 / factor) for factor in same) - 1


def _slowest(runs: Runs) -> float:
    return max(runs["bench_lowerings"][f"{key}/chosen_ms"] for key in _slower(runs))


def _worst(runs: Runs) -> Mapping[str, float]:
    return runs["bench_lowerings"][min(_slower(runs), key=_speedups(runs).__getitem__)]


def _repaid(runs: Runs) -> list[float]:
    """How many times faster the backward passes of these are, least and most."""
    factors = [_speedups(runs)[key.replace("forward", "backward")] for key in _slower(runs)]
    return [min(factors), max(factors)]


DERIVED = {
    "quickstart/images_ahead": _images_ahead,
    "own/ahead/interval": _ahead,
    "generator/seconds": _generator_seconds,
    "shipped/bytes": lambda runs: sum(runs[name]["bytes"] for name in SHIPPED),
    "cells/chain_beaten_by": _beaten_by("chain"),
    "cells/dense_beaten_by": _beaten_by("dense"),
    "budget/asked": _asked,
    "budget/answered": _answered,
    "training/depthwise/nasgen": _depthwise("nasgen"),
    "training/depthwise/PyTorch": _depthwise("PyTorch"),
    **{f"authors/{name}": _over_authors(name) for name in _AUTHORS},
    "authors/missed": lambda runs: 1 - min(min(_over_authors(name)(runs)) for name in _AUTHORS),
    "lowerings/num": lambda runs: len(_speedups(runs)),
    "lowerings/noise": _noise,
    "lowerings/slowest_ms": _slowest,
    "lowerings/worst": _worst,
    "lowerings/repaid/interval": _repaid,
}
