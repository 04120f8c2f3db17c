"""AutoAugment: ops are Pillow's to the pixel, level 0 is the identity, policies are applied as they
say, and standardised images come back standardised."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from nasgen.data.auto_augment import (
    OPS,
    POLICIES,
    PixelScale,
    apply_op,
    auto_augment,
    brightness,
    pixel_scale,
)
from nasgen.pipeline import config

SIZE = (24, 20)  # width, height
NAMES = list(OPS)
run, on_batch = jax.jit(apply_op), jax.jit(auto_augment, static_argnames="policy")
PLAIN = PixelScale(np.ones(3, np.float32), np.zeros(3, np.float32))


def picture(channels: int = 3) -> np.ndarray:
    """Blocks with noise on them, within 20..230."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(20, 180, (5, 6, channels)), np.ones((4, 4, 1), int))
    return (blocks + rng.integers(0, 50, blocks.shape)).astype(np.uint8)


def ours(image: np.ndarray, name: str, magnitude: float, sign: int = 1) -> np.ndarray:
    found = run(jnp.asarray(image, jnp.int32), NAMES.index(name), jnp.float32(magnitude), sign)
    assert found.shape == image.shape and found.dtype == jnp.int32
    assert 0 <= int(found.min()) and int(found.max()) <= 255
    return np.asarray(found)


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    fill = 128 if image.mode == "L" else (128,) * 3
    return image.transform(SIZE, Image.AFFINE, matrix, Image.NEAREST, fillcolor=fill)


# What Pillow makes of an image at a magnitude m, either sign where the op has one.
PILLOWS = {
    "shear_x": lambda image, m: affine(image, 1, m, 0, 0, 1, 0),
    "shear_y": lambda image, m: affine(image, 1, 0, 0, m, 1, 0),
    "translate_x": lambda image, m: affine(image, 1, 0, m * SIZE[0], 0, 1, 0),
    "translate_y": lambda image, m: affine(image, 1, 0, 0, 0, 1, m * SIZE[1]),
    "rotate": lambda image, m: image.rotate(m, fillcolor=128 if image.mode == "L" else (128,) * 3),
    "brightness": lambda image, m: ImageEnhance.Brightness(image).enhance(1 + m),
    "contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(1 + m),
    "posterize": lambda image, m: ImageOps.posterize(image, int(m)),
    "solarize": lambda image, m: ImageOps.solarize(image, m),
    "auto_contrast": lambda image, m: ImageOps.autocontrast(image),
    "equalize": lambda image, m: ImageOps.equalize(image),
    "invert": lambda image, m: ImageOps.invert(image),
    "color": lambda image, m: ImageEnhance.Color(image).enhance(1 + m),
    "sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(1 + m),
}


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", OPS)
def test_ops_do_what_pillows_do(name, channels):
    image = picture(channels)
    shown = Image.fromarray(image if channels == 3 else image[..., 0])
    for level in (0, 4, 9):
        magnitude = OPS[name].magnitudes[level]
        for sign in (1, -1) if OPS[name].signed else (1,):
            wanted = np.asarray(PILLOWS[name](shown, sign * magnitude)).reshape(image.shape)
            apart = np.abs(ours(image, name, magnitude, sign) - wanted.astype(int))
            if name in ("auto_contrast", *list(OPS)[:5]):
                # Pillow rounds a scale, and where a pixel is read, by other steps.
                assert (apart > 0).mean() < 0.01, (level, sign)
            else:
                assert apart.max() == 0, (level, sign)


def test_pillow_has_every_op():
    assert PILLOWS.keys() == OPS.keys()


@pytest.mark.parametrize("name", [name for name in OPS if len(set(OPS[name].magnitudes)) > 1])
def test_level_0_is_the_identity_and_level_9_is_not(name):
    image = picture()
    for sign in (1, -1):
        np.testing.assert_array_equal(ours(image, name, OPS[name].magnitudes[0], sign), image)
        assert (ours(image, name, OPS[name].magnitudes[9], sign) != image).any()


@pytest.mark.parametrize("name", ["auto_contrast", "equalize"])
def test_a_flat_image_stays(name):
    flat = np.full_like(picture(), 77)
    np.testing.assert_array_equal(ours(flat, name, 0.0), flat)


def test_brightness_of_other_channels_is_their_mean():
    image = picture(2)
    found = np.asarray(brightness(jnp.asarray(image, jnp.int32)))
    assert np.abs(found - image.mean(2, keepdims=True)).max() <= 0.5


def test_policies_name_ops_probabilities_and_levels():
    assert tuple(POLICIES) == config.POLICIES
    for pairs in POLICIES.values():
        assert len(pairs) == 25
        for name, chance, level in (step for pair in pairs for step in pair):
            assert name in OPS and 0 <= chance <= 1 and level in range(10)


def test_steps_are_taken_in_order_either_way_and_as_often_as_they_should(monkeypatch):
    pairs = (
        (("posterize", 1.0, 9), ("brightness", 1.0, 9)),
        (("invert", 0.25, 0), ("invert", 0.0, 0)),
    )
    monkeypatch.setitem(POLICIES, "test", pairs)
    image = picture()
    x = jnp.tile(image.astype(np.float32), (800, 1, 1, 1))
    found = np.asarray(on_batch(jax.random.key(0), x, policy="test", pixels=PLAIN))
    first = ours(image, "posterize", 4)
    ends = [ours(first, "brightness", 0.9, sign) for sign in (1, -1)] + [255 - image, image]
    match = np.stack([(found == end).all((1, 2, 3)) for end in ends])
    assert (match.sum(0) == 1).all()
    brighter, darker, inverted, untouched = match.sum(1)
    assert 150 < brighter < 250 and 150 < darker < 250  # a quarter each
    assert 60 < inverted < 140  # a quarter of the half that has the second pair
    assert untouched > 250


def test_standardised_images_come_back_standardised():
    raw = np.stack([np.roll(picture(), i, 0) for i in range(64)])
    raw[0, 0, 0], raw[0, 0, 1] = 0, 255
    mean, std = np.float32([110, 120, 90]), np.float32([60, 50, 70])
    x = ((raw - mean) / std).astype(np.float32)
    pixels = pixel_scale(x, mean, std)
    np.testing.assert_allclose(pixels.scale, std, rtol=1e-5)
    np.testing.assert_allclose(pixels.offset, mean, atol=1e-3)
    augment = partial(on_batch, jax.random.key(0), policy="cifar10")
    found = np.asarray(augment(x, pixels=pixels))
    plain = np.asarray(augment(raw.astype(np.float32), pixels=PLAIN))
    assert found.shape == x.shape and found.dtype == x.dtype
    np.testing.assert_allclose(found * std + mean, plain, atol=1e-2)
    changed = (plain != raw).any((1, 2, 3))
    assert 20 < changed.sum() < 64
    np.testing.assert_allclose(found[~changed], x[~changed], atol=1e-5)
    # Everything follows from the key.
    np.testing.assert_array_equal(augment(x, pixels=pixels), found)
    other = on_batch(jax.random.key(1), x, policy="cifar10", pixels=pixels)
    assert (np.asarray(other) != found).any()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (3, 5, 9, 4)])
def test_policies_keep_shape_and_type_of_any_images(policy, shape):
    scale = np.ones(shape[-1], np.float32)
    augment = partial(auto_augment, policy=policy, pixels=PixelScale(scale, scale))
    found = jax.eval_shape(augment, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))
    assert found.shape == shape and found.dtype == jnp.float32


def test_any_range_of_raw_values_becomes_that_of_pixels():
    raw = np.random.default_rng(0).uniform(-1, 3, (5, 4, 4, 2)).astype(np.float32)
    raw[0, 0, 0], raw[0, 0, 1] = -1, 3
    mean, std = raw.mean((0, 1, 2)), raw.std((0, 1, 2))
    pixels = pixel_scale((raw - mean) / std, mean, std)
    values = (raw - mean) / std * pixels.scale + pixels.offset
    assert abs(values.min()) < 1e-3 and abs(values.max() - 255) < 1e-3
    flat = pixel_scale(np.zeros((2, 4, 4, 1), np.float32), np.float32([3]), np.float32([1]))
    assert np.isfinite([*flat.scale, *flat.offset]).all()
