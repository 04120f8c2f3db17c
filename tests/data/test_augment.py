"""Augmentation moves, mirrors, resizes, erases and mixes within its bounds, and really does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from nasgen.data.augment import (
    mix,
    mixup,
    random_erasing,
    random_flip,
    random_resized_crop,
    random_shift,
)

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


def erased_boxes(shape, **options) -> list[tuple[int, int]]:
    """Height and width of what is erased of images of ones; each must be one full rectangle."""
    x = jnp.ones((500, *shape, 2))
    found = np.asarray(jax.jit(partial(random_erasing, **options))(jax.random.key(3), x))
    assert set(np.unique(found)) <= {0, 1} and (found[..., 0] == found[..., 1]).all()
    boxes = []
    for mask in found[..., 0] == 0:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns)
        if len(rows):
            assert np.ptp(rows) == len(rows) - 1 and np.ptp(columns) == len(columns) - 1
            boxes.append((len(rows), len(columns)))
    return boxes


@pytest.mark.parametrize("shape", [(32, 32), (12, 40), (64, 8)])
def test_erased_rectangles_keep_the_bounds_of_area_and_aspect(shape):
    low, high, aspect = 0.1, 0.4, 2.0
    boxes = erased_boxes(shape, probability=1.0, area=(low, high), aspect=aspect)
    assert len(boxes) == 500
    heights, widths = np.array(boxes).T
    area, pixels = heights * widths, np.prod(shape)
    rounding = (heights + widths) / 2 + 0.25  # half a pixel on each side
    assert (area >= low * pixels - rounding).all() and (area <= high * pixels + rounding).all()
    assert area.min() < (low + 0.05) * pixels and area.max() > (high - 0.1) * pixels
    # Sides are within the ratio wherever the image has room for it.
    free = (heights < shape[0]) & (widths < shape[1])
    most, least = (heights + 0.5) / (widths - 0.5), (heights - 0.5) / (widths + 0.5)
    assert (most[free] >= 1 / aspect).all() and (least[free] <= aspect).all()
    if shape[0] == shape[1]:
        assert (heights > widths).any() and (heights < widths).any()


def test_erasing_takes_its_share_of_images_and_any_place():
    boxes = erased_boxes((16, 16), probability=0.3)
    assert 110 < len(boxes) < 190
    assert erased_boxes((16, 16), probability=0.0) == []
    x = jnp.ones((2000, 8, 8, 1))
    found = random_erasing(jax.random.key(4), x, probability=1.0)
    share = np.asarray(found == 0).mean((0, 3))
    assert share.min() > 0.02 and np.allclose(share, share[::-1, ::-1], atol=0.05)


def test_a_crop_of_the_whole_is_the_identity():
    x = jax.random.normal(jax.random.key(5), (4, 9, 9, 3))
    whole = random_resized_crop(jax.random.key(6), x, least=1.0, aspect=1.0)
    assert whole.shape == x.shape and whole.dtype == x.dtype
    np.testing.assert_allclose(whole, x, atol=1e-4)


def test_a_crop_magnifies_a_part_within_its_bounds():
    """On images whose values are the coordinates: the slopes are the sides of the parts."""
    height, width, least = 24, 32, 0.25
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    one = np.stack([rows + 0.5, columns + 0.5], -1).astype(np.float32)
    x = jnp.broadcast_to(one, (300, *one.shape))
    crop = jax.jit(partial(random_resized_crop, least=least))
    found = np.asarray(crop(jax.random.key(7), x))
    inner = found[:, 4:-4, 4:-4]  # at the border the last pixel is repeated
    part_height = (inner[:, -1, 0, 0] - inner[:, 0, 0, 0]) / (inner.shape[1] - 1) * height
    part_width = (inner[:, 0, -1, 1] - inner[:, 0, 0, 1]) / (inner.shape[2] - 1) * width
    share = part_height * part_width / (height * width)
    assert share.min() > least - 0.01 and share.max() < 1.01
    assert share.min() < 0.3 and share.max() > 0.95
    ratio = part_height / part_width
    assert ratio.min() > 3 / 4 - 0.01 and ratio.max() < 4 / 3 + 0.01
    middle = found.mean((1, 2))
    assert (np.abs(middle[:, 0] - height / 2) < (height - part_height) / 2 + 0.1).all()
    assert middle[:, 1].std() > 1


def test_a_crop_is_pillows_resize_of_that_box():
    x = jax.random.normal(jax.random.key(8), (3, 16, 16, 1))
    coordinates = jnp.broadcast_to(jnp.arange(16.0)[None, :, None, None], x.shape)
    crop = jax.jit(partial(random_resized_crop, least=0.3, aspect=1.0))
    found, lines = crop(jax.random.key(9), x), np.asarray(crop(jax.random.key(9), coordinates))
    columns = np.asarray(crop(jax.random.key(9), coordinates.swapaxes(1, 2)))
    for index in range(3):
        slope = (lines[index, 12, 0, 0] - lines[index, 3, 0, 0]) / 9
        top = lines[index, 3, 0, 0] + 0.5 - 3.5 * slope
        left = columns[index, 0, 3, 0] + 0.5 - 3.5 * slope
        box = left, top, left + 16 * slope, top + 16 * slope
        picture = Image.fromarray(np.asarray(x[index, ..., 0]))
        wanted = np.asarray(picture.resize((16, 16), Image.BILINEAR, box=box))
        # Pillow reads nothing from outside the box, which changes the outermost pixels.
        np.testing.assert_allclose(found[index, 2:-2, 2:-2, 0], wanted[2:-2, 2:-2], atol=2e-3)


def test_mixing_by_one_is_the_identity_and_by_any_weight_keeps_sums():
    targets = jax.nn.softmax(jax.random.normal(jax.random.key(10), (200, 7)))
    np.testing.assert_array_equal(mix(X, jnp.float32(1)), X)
    np.testing.assert_array_equal(mix(X, jnp.float32(0)), jnp.roll(X, 1, 0))
    mixed, mixed_targets = jax.jit(partial(mixup, alpha=0.4))(jax.random.key(11), X, targets)
    np.testing.assert_allclose(mixed_targets.sum(1), 1, atol=1e-6)
    # Images and targets are mixed by the same weight, which is within 0..1.
    other = jnp.roll(targets, 1, 0)
    weight = jnp.sum((mixed_targets - other) * (targets - other)) / jnp.sum((targets - other) ** 2)
    assert 0 <= float(weight) <= 1
    np.testing.assert_allclose(mixed, weight * X + (1 - weight) * jnp.roll(X, 1, 0), atol=1e-4)


def test_weights_of_mixup_are_the_beta_distributions():
    x, targets = jnp.array([[[[1.0]]], [[[0.0]]]]), jnp.eye(2)
    draw = jax.jit(jax.vmap(lambda key: mixup(key, x, targets, alpha=0.5)[1][0, 0]))
    weights = np.asarray(draw(jax.random.split(jax.random.key(12), 4000)))
    # Beta(1/2, 1/2), the arcsine law: mean 1/2, variance 1/8, a third below 1/4.
    assert abs(weights.mean() - 0.5) < 0.03 and abs(weights.var() - 0.125) < 0.01
    assert abs((weights < 0.25).mean() - 1 / 3) < 0.04
