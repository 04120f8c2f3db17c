"""Classes and their probabilities, likeliest first: python predict.py FILE...

Prints a line an image: the file, then classes with their probabilities, parted by tabs. A picture
(PNG, JPEG and the like) is brought into the form that preprocess.json describes; an .npy or .npz
file holds raw images `[height, width, channels]`, or several of them, as those trained on.

Needs jax, flax and numpy, for pictures also pillow; and the other files of this folder.
"""

import json
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
FORM = FOLDER / "preprocess.json"
ARRAYS = (".npy", ".npz")
TOP, BATCH = 5, 32  # classes in a line; images at once


def read_form(path=FORM):
    """What preprocess.json says. Raises ValueError where it is damaged."""
    try:
        form = json.loads(Path(path).read_text(encoding="utf-8"))
        keys = ("input_shape", "scale", "mean", "std", "class_names", "num_classes")
        form = {key: form[key] for key in keys}
        form["input_shape"] = tuple(map(int, form["input_shape"]))
        form["mean"], form["std"] = (np.float32(form[key]) for key in ("mean", "std"))
        return form
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}).") from None


def read_images(file, form):
    """The raw images in a file, float32 `[number, height, width, channels]`."""
    if not Path(file).is_file():
        raise ValueError(f"{file} is no file.")
    if Path(file).suffix.lower() in ARRAYS:
        return read_arrays(file, form["input_shape"])
    return read_picture(file, form)[None]


def read_arrays(file, shape):
    """The images in an .npy file, or under `x` (or the only name) in an .npz file."""
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                names = found.files if len(found.files) == 1 else ["x"]
                found = found[names[0]]
    except Exception as error:  # damaged archives raise many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file} holds no array of images that can be read ({reason}).") from None
    shapes = (shape, shape[:2]) if shape[2] == 1 else (shape,)
    if found.shape not in shapes and found.shape[1:] not in shapes:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{file} must hold images [{wanted}] or several; got {[*found.shape]}.")
    if found.dtype.kind not in "biuf" or not np.isfinite(found).all():
        raise ValueError(f"{file} must hold finite numbers; got {found.dtype}, or NaN in it.")
    return found.reshape(-1, *shape).astype(np.float32)


def read_picture(file, form):
    """A picture as a raw image: upright, without transparency, resized with antialiasing, with the
    network's channels, and of the scale of the images trained on."""
    (height, width, channels), scale = form["input_shape"], form["scale"]
    if scale is None:
        raise ValueError(
            f"{file} is no .npy or .npz file; this network was trained on arrays whose values "
            "pictures do not have."
        )
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise ValueError(f"{file} needs pillow to be read: pip install pillow.") from None
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode[0] in "IF":  # grey of 16 bits
                image = Image.fromarray(np.asarray(image, np.float32) / np.float32(257))
            else:
                image = image.convert("L" if channels == 1 else "RGB")
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, np.float32).reshape(height, width, -1)
    except Exception as error:  # Pillow raises whatever its decoders meet in broken bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file} is no picture that can be read ({reason}).") from None
    return np.repeat(pixels, channels // pixels.shape[2], 2) * np.float32(scale)


def probabilities(images, form):
    """Of each class for each raw image."""
    sys.path.insert(0, str(FOLDER))
    import model  # slow to import: bad files have been refused by now

    variables, parts = model.load(), []
    x = (images - form["mean"]) / form["std"]
    size = min(BATCH, len(x))
    for start in range(0, len(x), size):
        part = x[start : start + size]
        filled = np.concatenate([part, np.zeros((size - len(part), *x.shape[1:]), np.float32)])
        parts.append(np.asarray(model.logits(variables, filled), float)[: len(part)])
    logits = np.concatenate(parts)
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def main(arguments):
    """Prints the lines; returns the exit code."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: python predict.py FILE...   (pictures, .npy, .npz)", file=sys.stderr)
        return 2
    try:
        form = read_form()
        images = [read_images(file, form) for file in arguments]
        found = probabilities(np.concatenate(images), form)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    titles = form["class_names"] or [str(label) for label in range(form["num_classes"])]
    names = [
        name if len(part) == 1 else f"{name}[{index}]"
        for name, part in zip(arguments, images, strict=True)
        for index in range(len(part))
    ]
    for name, odds in zip(names, found, strict=True):
        best = np.argsort(-odds, kind="stable")[:TOP]
        print(name, *(f"{titles[label]} {odds[label]:.4f}" for label in best), sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
