"""Rows that are read when they are asked for: indexed, standardised and batched as an array is."""

import threading
from itertools import count, islice

import numpy as np
import pytest

from nasgen.data.batches import epoch_batches
from nasgen.data.rows import SAMPLE, one_by_one, rows_of, sample, take
from nasgen.data.task import Split, standardised
from nasgen.types import Task

X = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3)).astype(np.uint8)
Y = np.arange(40) % 4
LAZY = {
    "of an array": lambda x: rows_of(x),
    "one by one": lambda x: one_by_one(lambda index: x[index], x.shape),
    "several at once": lambda x: one_by_one(lambda index: x[index], x.shape, threads=True),
    "taken": lambda x: take(rows_of(np.concatenate([x[::-1], x])), np.arange(len(x))[::-1]),
}


@pytest.mark.parametrize("kind", LAZY)
@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        slice(5, 9),
        slice(None, None, -7),
        np.array([7, 7, 0, -2]),
        [],
        np.arange(40) % 3 == 0,
    ],
    ids=str,
)
def test_an_index_gives_what_the_array_gives(kind, key):
    rows = LAZY[kind](X)
    assert rows.shape == X.shape and len(rows) == len(X) and rows.ndim == 4
    key = np.array(key, np.int64) if isinstance(key, list) else key
    found = rows[key]
    assert type(found) is np.ndarray and found.dtype == rows.dtype == np.float32
    np.testing.assert_array_equal(found, X[key].astype(np.float32))


def test_only_what_is_asked_for_is_read():
    seen = []
    rows = one_by_one(lambda index: seen.append(index) or X[index], X.shape)
    rows[np.array([4, 2])], rows[5:7], rows[-1]
    assert seen == [4, 2, 5, 6, 39]


@pytest.mark.parametrize("kind", LAZY)
def test_a_data_set_of_them_is_the_same(kind):
    task = Task("x", X.shape[1:], 4)
    parts = [Split(X[part], Y[part]) for part in (slice(20), slice(20, 30), slice(30, 40))]
    lazy = standardised(task, *(Split(LAZY[kind](one.x), one.y) for one in parts))
    whole = standardised(task, *parts)
    np.testing.assert_array_equal(lazy.mean, whole.mean)
    np.testing.assert_array_equal(lazy.std, whole.std)
    for found, wanted in zip(lazy[1:4], whole[1:4], strict=True):
        np.testing.assert_array_equal(np.asarray(found.x), wanted.x)
    batches = [epoch_batches(one.train.x, one.train.y, 6, seed=1) for one in (lazy, whole)]
    for step in range(8):
        for found, wanted in zip(batches[0](step), batches[1](step), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_a_resumed_run_reads_the_identical_batch():
    def batches(start):
        rows = one_by_one(lambda index: X[index], X.shape)  # opened anew
        return map(epoch_batches(rows, Y, 6, seed=1), count(start))

    straight = list(islice(batches(0), 12))
    for start in (1, 5, 8):
        for wanted, found in zip(straight[start:], batches(start), strict=False):
            np.testing.assert_array_equal(wanted[0], found[0])
            np.testing.assert_array_equal(wanted[1], found[1])


def test_the_next_batch_is_read_while_this_one_is_used():
    seen, ready = [], threading.Event()

    def read(index):
        seen.append(index)
        if len(seen) == 12:
            ready.set()
        return X[index]

    batch = epoch_batches(one_by_one(read, X.shape), Y, 6, seed=1)
    plain = epoch_batches(X, Y, 6, seed=1)
    first = batch(3)
    assert ready.wait(10) and len(seen) == 12  # this one's and the next one's
    np.testing.assert_array_equal(first[0], plain(3)[0])
    for step in (4, 9, 2):  # whatever was read ahead
        np.testing.assert_array_equal(batch(step)[0], plain(step)[0])


def test_statistics_take_a_sample_that_spans_all():
    long = np.arange(5 * SAMPLE, dtype=np.float32)[:, None, None]
    seen = sample(rows_of(long))
    assert len(seen) == SAMPLE and seen.min() == 0 and seen.max() == len(long) - 1
    assert sample(long) is long


@pytest.mark.parametrize("threads", [False, True])
def test_what_cannot_be_read_is_said(threads):
    def read(index):
        if index == 3:
            raise ValueError("`path` x.png is broken.")
        return X[index]

    rows = one_by_one(read, X.shape, threads=threads)
    rows[4:]
    with pytest.raises(ValueError, match="x.png is broken"):
        rows[:5]
