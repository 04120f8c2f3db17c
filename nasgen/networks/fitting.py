"""Widths fitted to budgets: drawn networks are scaled until the tightest bound is nearly used up.

All written widths of a network times one factor, the largest that keeps every bound; then single
stages grow, those first that rounding left farthest behind; the final width, in which every cost is
linear, takes what is left. Repeats change only where widths alone cannot do it: where even the
narrowest network is too dear, or the result uses less than `ENOUGH`. All rows at once, each for its
own task; a row's result does not depend on the others. Costs are exact, see `cost_polynomials`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nasgen.networks import cost_polynomials
from nasgen.networks.cost_polynomials import Polynomials, evaluate, polynomials
from nasgen.types import (
    CHANNEL_STEP,
    MAX_CELLS,
    MAX_CHANNELS,
    MAX_REPEATS,
    CellBatch,
    MacroBatch,
    Op,
    Task,
)

ENOUGH = 0.9  # of the tightest bound
_FULL = 0.98  # where single stages stop to grow
_WIDEST = MAX_CHANNELS // CHANNEL_STEP
_COARSE, _FINE = 24, 24  # factors tried over all widths there are, and between two of them
_GROWTH = 1.5  # of a single stage beyond its scaled width, and twice that of the final width
_ROWS = 512  # at once


class Fitted(NamedTuple):
    """macros: with their new widths and repeats. used: the largest part of a bound that each uses;
    above 1 where nothing was found to fit, 0 where there is no bound."""

    macros: MacroBatch
    used: Float[np.ndarray, " batch"]


class _Sizes(NamedTuple):
    """What fitting changes: widths in steps `[batch, stages]`, `[batch]`, and repeats."""

    steps: np.ndarray
    finals: np.ndarray
    repeats: np.ndarray


class _Problem(NamedTuple):
    """What it does not: costs, bounds `[batch, 3]` (inf: none) and the sizes as written."""

    polynomials: Polynomials
    limits: np.ndarray
    written: _Sizes

    def take(self, index) -> "_Problem":
        written = _Sizes(*(part[index] for part in self.written))
        return _Problem(cost_polynomials.take(self.polynomials, index), self.limits[index], written)


def fit(
    macros: MacroBatch,
    cells: CellBatch,
    ops: tuple[Op, ...],
    tasks: Sequence[Task],
    limits: Float[np.ndarray, "batch costs"],
) -> Fitted:
    """The macro architectures, whose cells stand in `cells` row by row, fitted to `limits` on
    params, MACs and activation memory (inf: none). Rows without any limit stay as written."""
    whole = _problem(macros, cells, ops, tasks, limits)
    starts = range(0, len(limits), _ROWS)
    parts = [_fit(whole.take(slice(start, start + _ROWS))) for start in starts]
    if not parts:
        return Fitted(macros, np.zeros(0))
    sizes, used = zip(*parts, strict=True)
    sizes = _Sizes(*(np.concatenate(column) for column in zip(*sizes, strict=True)))
    return Fitted(_with_sizes(macros, sizes), np.concatenate(used))


def scaled(
    macros: MacroBatch,
    cells: CellBatch,
    ops: tuple[Op, ...],
    tasks: Sequence[Task],
    limits: Float[np.ndarray, "batch costs"],
) -> MacroBatch:
    """The first part of `fit` alone: all widths of a row times one factor, the largest of those
    tried that fits. More room never makes any width smaller. What nothing fits is narrowest."""
    whole = _problem(macros, cells, ops, tasks, limits)
    return _with_sizes(macros, _scale(whole, whole.written))


def _problem(macros: MacroBatch, cells, ops, tasks, limits) -> _Problem:
    steps, finals = macros.channels // CHANNEL_STEP, macros.final_widths // CHANNEL_STEP
    written = _Sizes(steps, finals, macros.repeats)
    return _Problem(polynomials(macros, cells, ops, tasks), limits, written)


def _with_sizes(macros: MacroBatch, sizes: _Sizes) -> MacroBatch:
    widths = np.where(macros.repeats > 0, CHANNEL_STEP * sizes.steps, 0)
    finals = CHANNEL_STEP * sizes.finals
    return macros._replace(channels=widths, final_widths=finals, repeats=sizes.repeats)


def _fit(problem: _Problem) -> tuple[_Sizes, np.ndarray]:
    bounded = np.isfinite(problem.limits).any(1)
    start = problem.written._replace(repeats=_fewer_repeats(problem))
    grown = _scale(problem, start)
    sizes = _fill(problem, grown)
    used = _used_by(problem, sizes)
    (short,) = np.nonzero(bounded & (used < ENOUGH))
    if len(short):
        some = problem.take(short)
        more = _more_repeats(some, _Sizes(*(part[short] for part in grown)))
        refilled = _fill(some, more)
        better = _used_by(some, refilled)
        gain = (better <= 1) & (better > used[short])
        sizes = _Sizes(*(part.copy() for part in sizes))
        for part, new in zip(sizes, refilled, strict=True):
            part[short[gain]] = new[gain]
        used[short[gain]] = better[gain]
    sizes = _Sizes(
        *(
            np.where(bounded.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
            for new, old in zip(sizes, problem.written, strict=True)
        )
    )
    return sizes, np.where(bounded, used, 0)


def _used(problem: _Problem, steps, finals, repeats) -> Float[np.ndarray, "batch choices"]:
    """The largest part of a bound that each choice uses."""
    costs = evaluate(problem.polynomials, steps, finals, repeats)
    return (costs / problem.limits[:, None]).max(-1)


def _used_by(problem: _Problem, sizes: _Sizes) -> Float[np.ndarray, " batch"]:
    return _used(problem, *(part[:, None] for part in sizes))[:, 0]


def _fewer_repeats(problem: _Problem) -> Int[np.ndarray, "batch stages"]:
    """Repeats, at most so many fewer in each stage that the narrowest network fits."""
    written = problem.written
    drops = np.arange(MAX_REPEATS)
    repeats = written.repeats[:, None, :]
    choices = np.minimum(repeats, np.maximum(repeats - drops[None, :, None], 1))
    narrow = np.ones_like(choices)
    used = _used(problem, narrow, narrow[:, :, 0], choices)
    chosen = np.where((used <= 1).any(1), (used <= 1).argmax(1), MAX_REPEATS - 1)
    return choices[np.arange(len(choices)), chosen]


def _scale(problem: _Problem, sizes: _Sizes) -> _Sizes:
    """All widths times one factor; among all there are first, then between the best two."""
    there = sizes.repeats > 0
    least = np.where(there, sizes.steps, _WIDEST).min(1)
    most = np.maximum(sizes.steps.max(1), sizes.finals)
    low, high = 0.4 / most, (_WIDEST + 1) / np.minimum(least, sizes.finals)
    for count in (_COARSE, _FINE):
        factors = low[:, None] * (high / low)[:, None] ** np.linspace(0, 1, count)
        steps, finals = _times(sizes, factors)
        repeats = np.broadcast_to(sizes.repeats[:, None], steps.shape)
        fits = _used(problem, steps, finals, repeats) <= 1
        best = np.where(fits.any(1), count - 1 - fits[:, ::-1].argmax(1), 0)
        rows = np.arange(len(best))
        low, high = factors[rows, best], factors[rows, np.minimum(best + 1, count - 1)]
    return _Sizes(steps[rows, best], finals[rows, best], sizes.repeats)


def _times(sizes: _Sizes, factors) -> tuple[np.ndarray, np.ndarray]:
    steps = np.rint(sizes.steps[:, None] * factors[:, :, None])
    finals = np.rint(sizes.finals[:, None] * factors)
    return tuple(np.clip(part, 1, _WIDEST).astype(np.int64) for part in (steps, finals))


def _fill(problem: _Problem, sizes: _Sizes) -> _Sizes:
    """Single stages one step wider while they fit, the one farthest behind its written share first;
    then the final width."""
    caps = np.maximum(sizes.steps + 1, (_GROWTH * sizes.steps).astype(np.int64))
    caps = np.where(sizes.repeats > 0, np.minimum(caps, _WIDEST), 0)
    steps, one = sizes.steps.copy(), np.eye(sizes.steps.shape[1], dtype=np.int64)
    rows = np.arange(len(steps))
    for _ in range(4 * steps.shape[1]):
        some = problem.take(rows)
        wider = steps[rows, None] + one
        shape = wider.shape
        finals = np.broadcast_to(sizes.finals[rows, None], shape[:2])
        repeats = np.broadcast_to(sizes.repeats[rows, None], shape)
        used = _used(some, wider, finals, repeats)
        allowed = (used <= 1) & (steps[rows] < caps[rows])
        share = (steps[rows] + 1) / np.maximum(some.written.steps, 1)
        chosen = np.where(allowed, share, np.inf).argmin(1)
        index = np.arange(len(rows))
        going = allowed.any(1)
        steps[rows[going], chosen[going]] += 1
        rows = rows[going & (used[index, chosen] < _FULL)]
        if not len(rows):
            break
    return _with_final(problem, sizes._replace(steps=steps))


def _with_final(problem: _Problem, sizes: _Sizes) -> _Sizes:
    """The largest final width that fits, within bounds of taste where these leave enough used."""
    ends = [sizes._replace(finals=np.full_like(sizes.finals, n)) for n in (1, _WIDEST)]
    least, most = (evaluate(problem.polynomials, *(p[:, None] for p in end))[:, 0] for end in ends)
    slope = (most - least) / (_WIDEST - 1)
    room = np.floor((problem.limits - least) / slope).min(1)
    largest = np.clip(np.where(np.isfinite(room), room, _WIDEST) + 1, 1, _WIDEST)
    largest = largest.astype(np.int64)
    tasteful = np.minimum(largest, np.rint(2 * _GROWTH * sizes.finals).astype(np.int64))
    used = _used_by(problem, sizes._replace(finals=tasteful))
    return sizes._replace(finals=np.where(used < ENOUGH, largest, tasteful))


def _more_repeats(problem: _Problem, sizes: _Sizes) -> _Sizes:
    """One cell more, where it uses most of what is left, while any fits."""
    repeats, one = sizes.repeats.copy(), np.eye(sizes.repeats.shape[1], dtype=np.int64)
    rows = np.arange(len(repeats))
    for _ in range(MAX_CELLS):
        some, own = problem.take(rows), repeats[rows]
        longer = own[:, None] + one
        steps = np.broadcast_to(sizes.steps[rows, None], longer.shape)
        finals = np.broadcast_to(sizes.finals[rows, None], longer.shape[:2])
        used = _used(some, steps, finals, longer)
        allowed = (own > 0) & (own < MAX_REPEATS) & (own.sum(1) < MAX_CELLS)[:, None]
        used = np.where(allowed & (used <= 1), used, -1)
        chosen = used.argmax(1)
        going = used.max(1) >= 0
        repeats[rows[going], chosen[going]] += 1
        rows = rows[going & (used.max(1) < ENOUGH)]
        if not len(rows):
            break
    return sizes._replace(repeats=repeats)
