"""Random changes of a batch of images that keep its labels: pure functions, made for `jit`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def random_shift(
    key: Key[Array, ""], x: Float[Array, "batch height width channels"], *, max_shift: int
) -> Float[Array, "batch height width channels"]:
    """Moves each image by up to `max_shift` pixels each way; its border is repeated outwards.

    The same as padding by `max_shift` and cropping at random.
    """
    if not max_shift:
        return x
    sides = (max_shift, max_shift)
    padded = jnp.pad(x, ((0, 0), sides, sides, (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(x), 2), 0, 2 * max_shift + 1)

    def crop(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), x.shape[1:])

    return jax.vmap(crop)(padded, corners)


def random_flip(
    key: Key[Array, ""], x: Float[Array, "batch height width channels"]
) -> Float[Array, "batch height width channels"]:
    """Mirrors each image left to right with probability one half. Not for digits or letters."""
    flipped = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
    return jnp.where(flipped, x[:, :, ::-1], x)
