"""Augmentation only moves or mirrors pixels, and really does."""

import jax
import jax.numpy as jnp
import numpy as np

from nasgen.data.augment import random_flip, random_shift

X = jax.random.normal(jax.random.key(0), (200, 5, 4, 2))


def test_shift_is_a_crop_of_the_image_with_its_border_repeated():
    shifted = np.asarray(jax.jit(random_shift, static_argnames="max_shift")(
        jax.random.key(1), X, max_shift=1
    ))  # fmt: skip
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    crops = np.stack([padded[:, i : i + 5, j : j + 4] for i in range(3) for j in range(3)])
    match = (crops == shifted).all((2, 3, 4))  # [9 shifts, images]
    assert (match.sum(0) == 1).all()
    assert (match.sum(1) > 5).all()  # each of the nine occurs (22 expected)


def test_no_shift_is_the_identity():
    assert random_shift(jax.random.key(1), X, max_shift=0) is X


def test_flip_mirrors_about_half():
    flipped = jax.jit(random_flip)(jax.random.key(2), X)
    same = jnp.all(flipped == X, (1, 2, 3))
    mirrored = jnp.all(flipped == X[:, :, ::-1], (1, 2, 3))
    assert bool(jnp.all(same ^ mirrored))
    assert 60 < int(mirrored.sum()) < 140
