"""Widths fitted to budgets: never over, nearly used up, in shape, row by row and monotone."""

import jax
import numpy as np
import pytest

from nasgen.networks import costs, fitting
from nasgen.spaces import SPACES, graphs, macro
from nasgen.types import MAX_CELLS, CellBatch, MacroBatch, Task

OPEN = SPACES["open"]
TASKS = [
    Task("grey", (8, 8, 1), 2),
    Task("odd", (33, 30, 3), 100),
    Task("large", (224, 224, 3), 1000, stem_stride=2),
]


def drawn(num: int, seed: int = 0) -> tuple[MacroBatch, CellBatch, list[Task]]:
    """Random networks, as many for each task."""
    macros, tasks = [], []
    for index, task in enumerate(TASKS):
        size = -(-min(task.input_shape[:2]) // task.stem_stride)
        key = jax.random.fold_in(jax.random.key(seed), index)
        macros += macro.sample(key, num, num_clusters=4, size=size)
        tasks += [task] * num
    cells = OPEN.sample(jax.random.key(seed + 1), sum(len(one.stages) for one in macros))
    return macro.pack(macros), cells, tasks


def counted(macros: MacroBatch, cells: CellBatch, tasks: list[Task]) -> np.ndarray:
    found = costs.count_many(
        macro.with_cells(macro.unpack(macros), graphs.unpack(cells)), OPEN.ops, tasks
    )
    return np.stack([found.params, found.macs, found.activation_memory], 1)


def random_limits(seed: int, num: int) -> np.ndarray:
    """Any non-empty subset of bounds, from less than anything costs to more than most do."""
    rng = np.random.default_rng(seed)
    limits = 10 ** rng.uniform([2.5, 4.5, 4], [7, 9.5, 8.5], (num, 3))
    absent = rng.random((num, 3)) < 0.5
    absent[absent.all(1), 0] = False
    return np.where(absent, np.inf, np.floor(limits))


def test_never_over_budget_and_nearly_used_up():
    macros, cells, tasks = drawn(100)
    limits = random_limits(0, 300)
    fitted, used = fitting.fit(macros, cells, OPEN.ops, tasks, limits)
    np.testing.assert_array_equal(used, (counted(fitted, cells, tasks) / limits).max(1))
    found = used <= 1
    assert 0.4 < found.mean() < 1  # some bounds are tiny
    assert (used[found] >= fitting.ENOUGH).mean() > 0.9
    # What does not fit, does not fit either as narrow and short as it gets.
    least = macros._replace(
        channels=np.where(macros.repeats > 0, 8, 0),
        repeats=np.minimum(macros.repeats, 1),
        final_widths=0 * macros.final_widths + 8,
    )
    too_dear = (counted(least, cells, tasks) > limits).any(1)
    np.testing.assert_array_equal(~found, too_dear)


def test_the_shape_is_kept():
    macros, cells, tasks = drawn(100)
    limits = random_limits(1, 300)
    fitted, used = fitting.fit(macros, cells, OPEN.ops, tasks, limits)
    there = macros.repeats > 0
    np.testing.assert_array_equal(fitted.clusters, macros.clusters)
    np.testing.assert_array_equal(fitted.strides, macros.strides)
    np.testing.assert_array_equal(fitted.repeats > 0, there)
    assert fitted.repeats.max() <= 4 and fitted.repeats.sum(1).max() <= MAX_CELLS
    widths = np.concatenate([fitted.channels[there], fitted.final_widths])
    assert (widths % 8 == 0).all() and widths.min() >= 8 and widths.max() <= 1024
    # Away from both ends of the widths, repeats stay and all grow by about the same factor.
    inner = there & (fitted.channels >= 64) & (fitted.channels < 1024)
    assert ((fitted.repeats == macros.repeats) | ~inner)[used > 0.9].mean() > 0.95
    factors = np.where(
        inner, np.log(np.maximum(fitted.channels, 1) / macros.channels.clip(1)), np.nan
    )
    rows = inner.sum(1) >= 3
    spread = np.nanmax(factors[rows], 1) - np.nanmin(factors[rows], 1)
    assert rows.sum() > 20 and np.median(spread) < np.log(1.3) and spread.max() < np.log(2)


def test_without_bounds_nothing_changes():
    macros, cells, tasks = drawn(5)
    limits = np.full((15, 3), np.inf)
    fitted, used = fitting.fit(macros, cells, OPEN.ops, tasks, limits)
    assert all((a == b).all() for a, b in zip(fitted, macros, strict=True)) and (used == 0).all()


def test_a_row_does_not_depend_on_the_others():
    macros, cells, tasks = drawn(20)
    limits = random_limits(2, 60)
    fitted, used = fitting.fit(macros, cells, OPEN.ops, tasks, limits)
    rows = np.arange(0, 60, 7)
    owner = np.nonzero(macros.repeats > 0)[0]
    some, again = fitting.fit(
        macro.take(macros, rows),
        graphs.take(cells, np.isin(owner, rows)),
        OPEN.ops,
        [tasks[i] for i in rows],
        limits[rows],
    )
    np.testing.assert_array_equal(again, used[rows])
    assert macro.unpack(some) == macro.unpack(macro.take(fitted, rows))


@pytest.mark.parametrize("column", range(3))
def test_more_room_never_scales_down(column):
    macros, cells, tasks = drawn(20)
    before = None
    for factor in (1, 1.1, 1.5, 4, 30):
        limits = np.full((60, 3), np.inf)
        limits[:, column] = factor * 10.0 ** (4.5, 6.5, 6.5)[column]
        scaled = fitting.scaled(macros, cells, OPEN.ops, tasks, limits)
        if before is not None:
            assert (scaled.channels >= before.channels).all()
            assert (scaled.final_widths >= before.final_widths).all()
        before = scaled
    assert (before.channels.max(1) > 200).any()
