"""AutoAugment (Cubuk et al., CVPR 2019): the policies learned on CIFAR-10 and on ImageNet, as pure
functions for `jit`, one image at a time under `vmap`.

A policy is 25 pairs of steps, each an op, its probability and its level 0..9; every image gets a
random pair. Ranges and directions are those of the recipe of ZenNAS (Lin et al., ICCV 2021), where
level 0 of an op leaves the image alone and shifted-in pixels are grey. Ops work on whole numbers
0..255 and do what Pillow's do, with the nearest pixel in place of interpolation.

An op moves pixels (`matrix`), maps their values (`table`) or blends the image with a duller one
(`dull`). So one pass of each kind does for any op: for two of them it is the identity.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from nasgen.data.rows import Rows, sample

GREY = 128  # of pixels from outside of the image
LEVELS = 10
VALUES = np.arange(256, dtype=np.int32)[None]
_TRANSLATION = 150 / 331  # of a side: 150 pixels of the paper's 331

Image = Int[Array, "height width channels"]
Counts = Int[Array, "channels 256"]  # how many pixels have each value
Step = tuple[str, float, int]  # op, probability, level


class PixelScale(NamedTuple):
    """How standardised images become pixels 0..255: `x * scale + offset`, a number a channel."""

    scale: Float[np.ndarray, " channels"]
    offset: Float[np.ndarray, " channels"]


def pixel_scale(
    x: Float[np.ndarray | Rows, "examples height width channels"],
    mean: Float[np.ndarray, " channels"],
    std: Float[np.ndarray, " channels"],
) -> PixelScale:
    """The scale on which the darkest raw value of the images is 0 and the brightest 255.

    x: standardised images, `(raw - mean) / std`. Of photographs of 8 bits these are the raw values.
    """
    x = sample(x)
    low = float((x.min((0, 1, 2)) * std + mean).min())
    high = float((x.max((0, 1, 2)) * std + mean).max())
    unit = 255 / (high - low) if high > low else 1.0
    return PixelScale((std * unit).astype(np.float32), ((mean - low) * unit).astype(np.float32))


class Op(NamedTuple):
    """One op. magnitudes: at its levels. signed: whether it goes either way, at random.

    matrix(magnitude, height, width): where an output pixel (x, y) is read: at (a x + b y + c,
    d x + e y + f). table(magnitude, counts, grey): what becomes of each value of each channel;
    grey: the mean brightness. dull(image): what the image is taken away from, by `magnitude`.
    One of the three is there.
    """

    magnitudes: tuple[float, ...]
    signed: bool = False
    matrix: Callable[[Array, int, int], tuple] | None = None
    table: Callable[[Array, Counts, Array], Array] | None = None
    dull: Callable[[Image], Image] | None = None


def _rotation(degrees: Array, height: int, width: int) -> tuple:
    cos, sin = jnp.cos(jnp.deg2rad(degrees)), jnp.sin(jnp.deg2rad(degrees))
    x, y = width / 2, height / 2
    return cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y


def _blended(image: ArrayLike, dull: Array, magnitude: Array) -> Array:
    """`1 + magnitude` times the way from `dull` to the image, cut off like Pillow's blend."""
    way = (1 + magnitude) * (image - dull)
    return jnp.clip(dull + way, 0, 255).astype(jnp.int32)


def _posterised(bits: Array, counts: Counts, grey: Array) -> Array:
    return VALUES & -(1 << (8 - bits.astype(jnp.int32)))


def _solarised(threshold: Array, counts: Counts, grey: Array) -> Array:
    return jnp.where(VALUES < threshold, VALUES, 255 - VALUES)


def _stretched(magnitude: Array, counts: Counts, grey: Array) -> Array:
    """The darkest value to 0, the brightest to 255."""
    low, high = jnp.argmax(counts > 0, 1)[:, None], _last(counts)[:, None]
    stretched = jnp.clip((VALUES - low) * 255 // jnp.maximum(high - low, 1), 0, 255)
    return jnp.where(high > low, stretched, VALUES)


def _equalised(magnitude: Array, counts: Counts, grey: Array) -> Array:
    """Values by the share of pixels that are darker."""
    brightest = jnp.take_along_axis(counts, _last(counts)[:, None], 1)
    step = (counts.sum(1, keepdims=True) - brightest) // 255
    darker = jnp.cumsum(counts, 1) - counts
    even = jnp.minimum((step // 2 + darker) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, even, VALUES)


def _last(counts: Counts) -> Int[Array, " channels"]:
    return 255 - jnp.argmax(counts[:, ::-1] > 0, 1)


def brightness(image: Image) -> Int[Array, "height width 1"]:
    """Luma of colour images (ITU-R 601), the mean of other channels."""
    if image.shape[2] != 3:
        return (image.sum(2, keepdims=True) + image.shape[2] // 2) // image.shape[2]
    luma = image[..., 0] * 19595 + image[..., 1] * 38470 + image[..., 2] * 7471
    return ((luma + 0x8000) >> 16)[..., None]


def _greyed(image: Image) -> Image:
    return jnp.broadcast_to(brightness(image), image.shape)


def _smoothed(image: Image) -> Image:
    """Each pixel but those of the border with its eight neighbours, itself five times."""
    height, width, _ = image.shape
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
    near = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    inner = (0 < rows) & (rows < height - 1) & (0 < columns) & (columns < width - 1)
    return jnp.where(inner[..., None], (2 * (near + 4 * image) + 13) // 26, image)


def _up_to(most: float, *, start: float = 0.0) -> tuple[float, ...]:
    return tuple(np.linspace(start, most, LEVELS).tolist())


# How far an op goes: shears as slopes, translations in sides, rotations in degrees; bits that are
# kept; the value from which on pixels are inverted; what is added to the factor 1 of a blend.
OPS = {
    "shear_x": Op(_up_to(0.3), True, matrix=lambda m, h, w: (1, m, 0, 0, 1, 0)),
    "shear_y": Op(_up_to(0.3), True, matrix=lambda m, h, w: (1, 0, 0, m, 1, 0)),
    "translate_x": Op(_up_to(_TRANSLATION), True, matrix=lambda m, h, w: (1, 0, m * w, 0, 1, 0)),
    "translate_y": Op(_up_to(_TRANSLATION), True, matrix=lambda m, h, w: (1, 0, 0, 0, 1, m * h)),
    "rotate": Op(_up_to(30), True, matrix=_rotation),
    "brightness": Op(_up_to(0.9), True, table=lambda m, n, grey: _blended(VALUES, 0 * grey, m)),
    "contrast": Op(_up_to(0.9), True, table=lambda m, n, grey: _blended(VALUES, grey, m)),
    "posterize": Op(tuple(np.round(_up_to(4, start=8)).tolist()), table=_posterised),
    "solarize": Op(_up_to(0, start=256), table=_solarised),
    "auto_contrast": Op((0.0,) * LEVELS, table=_stretched),
    "equalize": Op((0.0,) * LEVELS, table=_equalised),
    "invert": Op((0.0,) * LEVELS, table=lambda m, n, grey: 255 - VALUES),
    "color": Op(_up_to(0.9), True, dull=_greyed),
    "sharpness": Op(_up_to(0.9), True, dull=_smoothed),
}
_NAMES = tuple(OPS)

# From the paper's appendix, as ZenNAS applies them.
POLICIES: dict[str, tuple[tuple[Step, Step], ...]] = {
    "cifar10": (
        (("invert", 0.1, 7), ("contrast", 0.2, 6)),
        (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
        (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
        (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
        (("auto_contrast", 0.5, 8), ("equalize", 0.9, 2)),
        (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
        (("color", 0.4, 3), ("brightness", 0.6, 7)),
        (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
        (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
        (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
        (("color", 0.7, 7), ("translate_x", 0.5, 8)),
        (("equalize", 0.3, 7), ("auto_contrast", 0.4, 8)),
        (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
        (("brightness", 0.9, 6), ("color", 0.2, 8)),
        (("solarize", 0.5, 2), ("invert", 0.0, 3)),
        (("equalize", 0.2, 0), ("auto_contrast", 0.6, 0)),
        (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
        (("color", 0.9, 9), ("equalize", 0.6, 6)),
        (("auto_contrast", 0.8, 4), ("solarize", 0.2, 8)),
        (("brightness", 0.1, 3), ("color", 0.7, 0)),
        (("solarize", 0.4, 5), ("auto_contrast", 0.9, 3)),
        (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
        (("auto_contrast", 0.9, 2), ("solarize", 0.8, 3)),
        (("equalize", 0.8, 8), ("invert", 0.1, 3)),
        (("translate_y", 0.7, 9), ("auto_contrast", 0.9, 1)),
    ),
    "imagenet": (
        (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
        (("solarize", 0.6, 5), ("auto_contrast", 0.6, 5)),
        (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
        (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
        (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
        (("equalize", 0.4, 4), ("rotate", 0.8, 8)),
        (("solarize", 0.6, 3), ("equalize", 0.6, 7)),
        (("posterize", 0.8, 5), ("equalize", 1.0, 2)),
        (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
        (("equalize", 0.6, 8), ("posterize", 0.4, 6)),
        (("rotate", 0.8, 8), ("color", 0.4, 0)),
        (("rotate", 0.4, 9), ("equalize", 0.6, 2)),
        (("equalize", 0.0, 7), ("equalize", 0.8, 8)),
        (("invert", 0.6, 4), ("equalize", 1.0, 8)),
        (("color", 0.6, 4), ("contrast", 1.0, 8)),
        (("rotate", 0.8, 8), ("color", 1.0, 2)),
        (("color", 0.8, 8), ("solarize", 0.8, 7)),
        (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
        (("shear_x", 0.6, 5), ("equalize", 1.0, 9)),
        (("color", 0.4, 0), ("equalize", 0.6, 3)),
        (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
        (("solarize", 0.6, 5), ("auto_contrast", 0.6, 5)),
        (("invert", 0.6, 4), ("equalize", 1.0, 8)),
        (("color", 0.6, 4), ("contrast", 1.0, 8)),
        (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
    ),
}


def auto_augment(
    key: Key[Array, ""],
    x: Float[Array, "batch height width channels"],
    *,
    policy: str,
    pixels: PixelScale,
) -> Float[Array, "batch height width channels"]:
    """Each standardised image under a random pair of steps of the policy; one that no step changes
    stays as it is, to the bit."""
    pairs = POLICIES[policy]
    ops = jnp.array([[_NAMES.index(name) for name, *_ in pair] for pair in pairs])
    chances = jnp.array([[chance for _, chance, _ in pair] for pair in pairs])
    magnitudes = jnp.array([[OPS[name].magnitudes[n] for name, _, n in pair] for pair in pairs])
    scale, offset = (jnp.asarray(one)[None, None] for one in pixels)

    def take_step(values: Image, step: tuple) -> tuple[Image, None]:
        op, magnitude, sign, taken = step
        return jnp.where(taken, apply_op(values, op, magnitude, sign), values), None

    def augment(image: Array, drawn: Float[Array, "5"]) -> Array:
        pair = (drawn[0] * len(pairs)).astype(jnp.int32)
        taken, signs = drawn[1:3] < chances[pair], jnp.where(drawn[3:] < 0.5, 1, -1)
        values = jnp.clip(jnp.round(image * scale + offset), 0, 255).astype(jnp.int32)
        steps = ops[pair], magnitudes[pair], signs, taken
        values, _ = jax.lax.scan(take_step, values, steps)
        return jnp.where(taken.any(), (values.astype(image.dtype) - offset) / scale, image)

    # All in one draw: each costs a second to compile.
    return jax.vmap(augment)(x, jax.random.uniform(key, (len(x), 5)))


def apply_op(
    image: Image, op: int | Int[Array, ""], magnitude: Array, sign: int | Int[Array, ""] = 1
) -> Image:
    """The image, values 0..255, after the op of that number in `OPS`, in the direction of `sign`
    where it has one."""
    signed = jnp.array([one.signed for one in OPS.values()])[op]
    magnitude = magnitude * jnp.where(signed, sign, 1)

    def of_op(kind: str, use: Callable, identity: Array) -> Array:
        functions = [getattr(one, kind) for one in OPS.values()]
        own = [use(one) for one in functions if one] + [identity]
        places = [sum(map(bool, functions[:i])) if f else -1 for i, f in enumerate(functions)]
        return jnp.stack(own)[jnp.array(places)[op]]

    def matrix(function: Callable) -> Array:
        return jnp.array(function(magnitude, *image.shape[:2]), jnp.float32)

    image = _moved(image, of_op("matrix", matrix, jnp.array([1.0, 0, 0, 0, 1, 0])))
    counts, grey = _counts(image), jnp.floor(brightness(image).mean() + 0.5)

    def table(function: Callable) -> Array:
        return jnp.broadcast_to(function(magnitude, counts, grey), counts.shape)

    image = _mapped(image, of_op("table", table, jnp.broadcast_to(VALUES, counts.shape)))
    return _blended(image, of_op("dull", lambda function: function(image), image), magnitude)


def _moved(image: Image, matrix: Float[Array, "6"]) -> Image:
    """Every pixel from where the matrix says, by the centres of pixels."""
    height, width, _ = image.shape
    a, b, c, d, e, f = matrix
    x, y = jnp.meshgrid(jnp.arange(width) + 0.5, jnp.arange(height) + 0.5)
    column = jnp.floor(a * x + b * y + c).astype(jnp.int32)
    row = jnp.floor(d * x + e * y + f).astype(jnp.int32)
    inside = (0 <= row) & (row < height) & (0 <= column) & (column < width)
    found = image[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return jnp.where(inside[..., None], found, GREY)


def _counts(image: Image) -> Counts:
    channels = image.shape[2]
    each = jnp.broadcast_to(jnp.arange(channels)[None, None], image.shape)
    return jnp.zeros((channels, 256), jnp.int32).at[each, image].add(1)


def _mapped(image: Image, table: Int[Array, "channels 256"]) -> Image:
    return table[jnp.broadcast_to(jnp.arange(image.shape[2])[None, None], image.shape), image]
