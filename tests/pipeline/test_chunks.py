"""Chunks change nothing but how much is computed at once."""

import jax
import numpy as np
import pytest

from nasgen.pipeline.cell_generator import log_prob, write_cells
from nasgen.pipeline.chunks import chunked
from nasgen.pretrained.bundle import load_cells
from nasgen.spaces import SPACES, graphs


@pytest.mark.parametrize(
    ("num", "calls"), [(1, [8]), (8, [8]), (9, [32]), (128, [128]), (512, [512]), (513, [512, 512])]
)
def test_few_rows_are_not_padded_to_many(num, calls):
    sizes = []

    def double(x, y):
        sizes.append(len(x))
        return 2 * x + y

    x = np.arange(num, dtype=np.float32)
    np.testing.assert_array_equal(chunked(double, x, x), 3 * x)
    assert sizes == calls


def test_how_many_are_asked_for_does_not_change_the_first():
    """Draws and densities alike, whatever the size of the call that they are computed in."""
    bundle, space = load_cells("nb201"), SPACES["nb201"]
    nothing = np.zeros((200, len(bundle.names)), np.float32)
    mask = np.zeros(nothing.shape, bool)
    key = jax.random.key(3)
    many = write_cells(bundle, key, nothing, mask)
    for num in (5, 30, 120):
        few = write_cells(bundle, key, nothing[:num], mask[:num])
        assert graphs.canonical_keys(few) == graphs.canonical_keys(many)[:num]
    cells = space.sample(jax.random.key(0), 20)
    all_nats = log_prob(bundle, cells, nothing[:20], mask[:20])
    one = log_prob(bundle, graphs.take(cells, slice(1)), nothing[:1], mask[:1])
    np.testing.assert_allclose(one, all_nats[:1], rtol=1e-4)
