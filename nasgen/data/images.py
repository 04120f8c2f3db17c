"""Pictures of mixed sizes and colours in one form: height, width and channels of all of them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from nasgen.data.arrays import MAX_SIDE, MIN_SIDE


class Form(NamedTuple):
    """Pixels, and channels: 1 is grey, 3 is colour."""

    height: int
    width: int
    channels: int


def form_of(image: Image.Image) -> Form:
    """The form of an opened picture, upright as its camera says. Raises ValueError for a side that
    is too long or too short; the pixels are not read."""
    width, height = image.size
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        raise ValueError(f"{height}x{width} pixels; sides must be {MIN_SIDE}..{MAX_SIDE}")
    # Of a PNG without, Pillow would read all of it, lest it stand behind the pixels.
    has_exif = image.format != "PNG" or {"exif", "Raw profile type exif"} & image.info.keys()
    if has_exif and image.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # lies on its side
        height, width = width, height
    return Form(height, width, 1 if image.mode[0] in "1LIF" else 3)


def common_form(forms: Sequence[Form], *, size: int | None = None) -> Form:
    """The median height and width, rounded (or `size` both), and the channels of the majority;
    where as many are grey as in colour, colour. Raises ValueError for a `size` out of bounds."""
    if size is not None and not MIN_SIDE <= size <= MAX_SIDE:
        raise ValueError(f"`size` must be in {MIN_SIDE}..{MAX_SIDE} pixels; got {size}.")
    height, width = (round(float(np.median([form[axis] for form in forms]))) for axis in (0, 1))
    grey = sum(form.channels == 1 for form in forms)
    channels = 1 if 2 * grey > len(forms) else 3
    return Form(height, width, channels) if size is None else Form(size, size, channels)


def is_transparent(image: Image.Image) -> bool:
    """Whether an opened picture has an alpha channel or a transparent colour; the pixels are not
    read. In grey of 16 bits no level is taken for transparent."""
    return image.has_transparency_data and image.mode[0] not in "IF"


def pixels(image: Image.Image, form: Form) -> Float[np.ndarray, "height width channels"]:
    """The picture in that form, in 0..255: resized with antialiasing, on white where it is
    transparent.

    Grey of 16 bits keeps its fractions.
    """
    image = ImageOps.exif_transpose(image)
    if is_transparent(image):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode[0] in "IF":
        image = Image.fromarray(np.asarray(image, np.float32) / np.float32(257))
    else:
        image = image.convert("L" if form.channels == 1 else "RGB")
    if image.size != (form.width, form.height):
        image = image.resize((form.width, form.height), Image.Resampling.BILINEAR)
    array = np.asarray(image, np.float32).reshape(form.height, form.width, -1)
    return np.repeat(array, form.channels, -1) if array.shape[-1] < form.channels else array


def form_notes(forms: Sequence[Form], form: Form, *, transparent: int) -> tuple[str, ...]:
    """What bringing pictures of `forms`, so many of them transparent, into one form changes, in a
    sentence each."""
    notes, sizes = [], Counter((one.height, one.width) for one in forms)
    resized = len(forms) - sizes[form.height, form.width]
    if resized:
        kinds = f"{len(sizes)} sizes" if len(sizes) > 1 else "one size"
        notes.append(
            f"{resized} of {len(forms)} images, of {kinds}, were resized to "
            f"{form.height}x{form.width} pixels; `size` sets another."
        )
    changed = sum(one.channels != form.channels for one in forms)
    if changed:
        became = "grey" if form.channels == 1 else "colour"
        notes.append(f"{changed} of {len(forms)} images were made {became}, like most.")
    if transparent:
        notes.append(f"{transparent} of {len(forms)} images have transparency: they lie on white.")
    return tuple(notes)
