"""Random changes of a batch of images that keep its labels, and `mixup`, which mixes them too: pure
functions, made for `jit`. Images are standardised, so that 0 is the mean of the training images.

`random_shift` takes series too, and any type: with the same key it moves maps of targets with their
inputs; so does `random_flip` for images.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Num


def random_shift(
    key: Key[Array, ""], x: Num[Array, "batch *places channels"], *, max_shift: int
) -> Num[Array, "batch *places channels"]:
    """Moves each example by up to `max_shift` places (pixels, moments) each way; its border is
    repeated outwards.

    The same as padding by `max_shift` and cropping at random.
    """
    if not max_shift:
        return x
    axes = x.ndim - 2
    padded = jnp.pad(x, ((0, 0), *((max_shift, max_shift),) * axes, (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(x), axes), 0, 2 * max_shift + 1)

    def crop(example: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(example, (*corner, 0), x.shape[1:])

    return jax.vmap(crop)(padded, corners)


def random_flip(
    key: Key[Array, ""], x: Num[Array, "batch height width channels"]
) -> Num[Array, "batch height width channels"]:
    """Mirrors each image left to right with probability one half. Not for digits or letters."""
    flipped = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
    return jnp.where(flipped, x[:, :, ::-1], x)


def moved(
    shift_key: Key[Array, ""],
    flip_key: Key[Array, ""],
    x: Num[Array, "batch *places channels"],
    y: Num[Array, "batch *target"],
    *,
    max_shift: int,
    flip: bool,
    dense: bool,
) -> tuple[Num[Array, "batch *places channels"], Num[Array, "batch *target"]]:
    """Inputs shifted and (`flip`) mirrored at random; with them, where each place has a target
    (`dense`), their targets."""

    def move(x: Array) -> Array:
        x = random_shift(shift_key, x, max_shift=max_shift)
        return random_flip(flip_key, x) if flip else x

    if dense:  # with a last axis as inputs have it
        y = move(y if y.ndim == x.ndim else y[..., None]).reshape(y.shape)
    return move(x), y


def random_resized_crop(
    key: Key[Array, ""],
    x: Float[Array, "batch height width channels"],
    *,
    least: float,
    aspect: float = 4 / 3,
) -> Float[Array, "batch height width channels"]:
    """A random part of each image, `least..1` of its area, resized to the whole (linearly).

    aspect: the most that a side of the part may be longer than the other, up to the image's own
    shape. As Szegedy et al. (CVPR 2015) crop, but at any corner, not at whole pixels alone.
    """
    drawn = jax.random.uniform(key, (4, len(x)))
    size = jnp.array(x.shape[1:3], x.dtype)
    parts = _sizes(drawn[:2], x.shape, (least, 1.0), aspect).astype(x.dtype)
    corners = drawn[2:].T * (size[None] - parts)

    def crop(image: Array, part: Array, corner: Array) -> Array:
        scale = size / part
        return jax.image.scale_and_translate(
            image, image.shape, (0, 1), scale, -corner * scale, "linear"
        )

    return jax.vmap(crop)(x, parts, corners)


def random_erasing(
    key: Key[Array, ""],
    x: Float[Array, "batch height width channels"],
    *,
    probability: float,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 1 / 0.3,
) -> Float[Array, "batch height width channels"]:
    """Sets one rectangle of an image to the mean, 0, with this probability.

    area: the least and the most of the image's that goes, to rounding. aspect: as in
    `random_resized_crop`. Zhong et al. (AAAI 2020), with their constants.
    """
    drawn = jax.random.uniform(key, (5, len(x)))
    shape = jnp.array(x.shape[1:3])[None]
    sizes = jnp.round(_sizes(drawn[:2], x.shape, area, aspect)).astype(shape.dtype)
    sizes = jnp.clip(sizes, 1, shape)
    corners = (drawn[2:4].T * (shape - sizes + 1)).astype(shape.dtype)
    rows, columns = (
        _between(x.shape[axis + 1], corners[:, axis], sizes[:, axis]) for axis in range(2)
    )
    chosen = drawn[4] < probability
    erased = chosen[:, None, None] & rows[:, :, None] & columns[:, None]
    return jnp.where(erased[..., None], jnp.zeros((), x.dtype), x)


def mixup(
    key: Key[Array, ""],
    x: Float[Array, "batch *places channels"],
    targets: Float[Array, "batch classes"],
    *,
    alpha: float,
) -> tuple[Float[Array, "batch *places channels"], Float[Array, "batch classes"]]:
    """`mix` at a weight drawn from Beta(alpha, alpha), one a batch. Zhang et al. (ICLR 2018)."""
    weight = jax.random.beta(key, alpha, alpha)
    return mix(x, weight), mix(targets, weight)


def mix(x: Float[Array, "batch ..."], weight: Float[Array, ""]) -> Float[Array, "batch ..."]:
    """Each example times `weight` and the one before it in the batch times what is left of 1."""
    weight = weight.astype(x.dtype)
    return weight * x + (1 - weight) * jnp.roll(x, 1, axis=0)


def _sizes(
    drawn: Float[Array, "2 batch"],
    shape: tuple[int, ...],
    area: tuple[float, float],
    aspect: float,
) -> Float[Array, "batch 2"]:
    """Heights and widths of rectangles that fit into images of `shape`: the part of the area is
    uniform and, as far as they fit, the ratio of their sides log-uniform.

    drawn: numbers in 0..1.
    """
    height, width = shape[1:3]
    part = area[0] + (area[1] - area[0]) * drawn[0]
    own, room = math.log(height / width), -jnp.log(part)
    most = math.log(aspect)
    low, high = (jnp.clip(end, own - room, own + room) for end in (-most, most))
    half = 0.5 * (low + (high - low) * drawn[1])
    side = jnp.sqrt(part * (height * width))
    return jnp.stack([side * jnp.exp(half), side * jnp.exp(-half)], 1)


def _between(
    number: int, start: Int[Array, " batch"], size: Int[Array, " batch"]
) -> Bool[Array, "batch places"]:
    """Of the places `0..number-1`, one row an image, those within `size` from `start` on."""
    places = jnp.arange(number)[None]
    return (places >= start[:, None]) & (places < (start + size)[:, None])
