"""Batches: each example once an epoch, a new order each epoch, the same batch at the same step."""

from itertools import count, islice

import numpy as np
import pytest

from nasgen.data.batches import epoch_batches

X = np.arange(20, dtype=np.float32).reshape(20, 1, 1, 1)
Y = np.arange(20)


@pytest.mark.parametrize(("size", "seen"), [(5, 20), (6, 18), (20, 20)])
def test_epochs_visit_each_example_once(size, seen):
    batch, steps = epoch_batches(X, Y, size, seed=1), len(Y) // size
    epochs = [[batch(steps * epoch + i)[1] for i in range(steps)] for epoch in range(2)]
    for epoch in epochs:
        assert len(set(np.concatenate(epoch))) == seen
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(batch(steps)[0].ravel(), batch(steps)[1])


def test_a_resumed_iterator_equals_the_straight_one():
    straight = list(islice(map(epoch_batches(X, Y, 6, seed=1), count()), 12))
    for start in (0, 1, 3, 7):
        resumed = map(epoch_batches(X, Y, 6, seed=1), count(start))
        for wanted, found in zip(straight[start:], resumed, strict=False):
            assert np.array_equal(wanted[0], found[0]) and np.array_equal(wanted[1], found[1])
    other = epoch_batches(X, Y, 6, seed=2)
    assert any(not np.array_equal(straight[step][1], other(step)[1]) for step in range(3))


@pytest.mark.parametrize("size", [0, -1, 21])
def test_more_than_there_is_is_refused(size):
    with pytest.raises(ValueError, match=rf"`batch_size` must be in 1..20, .* got {size}"):
        epoch_batches(X, Y, size, seed=0)
