"""What the network says of files: python predict.py FILE...

Prints a line for each picture or series, or for each file where each pixel or moment is predicted:
the file, then, parted by tabs,

    classification     classes with their probabilities, likeliest first
    multi_label        labels with their probabilities, likeliest first
    regression         the numbers
    segmentation       the file that the map of classes is written to, and the share of each class
    dense_regression   the file that the numbers are written to

A picture (PNG or JPEG) is brought into the form that preprocess.json describes; a table of series
(.csv) is long or wide as that trained on, its columns in any order; an .npy or .npz file holds raw
images `[height, width, channels]` or raw series `[length, channels]`, or several of them, as those
trained on. What is written stands beside the file: FILE.classes.png, of the picture's own size,
FILE.classes.npy `[number, places...]` or FILE.numbers.npy `[number, places..., outputs]`. Where
these are among the files, as `*` gives them, they are skipped, which is said.

Needs jax, flax and numpy, for pictures also pillow 10.1 or later; and the other files of this
folder.
"""

import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

FOLDER = Path(__file__).resolve().parent
FORM = FOLDER / "preprocess.json"
ARRAYS = (".npy", ".npz")
FORMATS = ("PNG", "JPEG")  # of pictures, told by their content
WRITTEN = (".classes.png", ".classes.npy", ".numbers.npy")  # what is added to FILE
TOP, BATCH = 5, 32  # classes in a line; images at once
TABLE = {"label": "label", "series": "series", "time": "time", "channels": None, "fits": False}


class Inputs(NamedTuple):
    """Raw images or series `[number, ...]`, float32, the name of each, and a picture's own width
    and height."""

    raw: np.ndarray
    names: list
    size: tuple | None = None


def read_form(path=FORM):
    """What preprocess.json says. Raises ValueError where it is damaged."""
    try:
        form = json.loads(Path(path).read_text(encoding="utf-8"))
        keys = ("kind", "input_shape", "scale", "mean", "std", "class_names", "num_classes")
        form = {**{key: form[key] for key in keys}, "table": form.get("table")}
        form["input_shape"] = tuple(map(int, form["input_shape"]))
        form["mean"], form["std"] = (np.float32(form[key]) for key in ("mean", "std"))
        form["examples"] = "series" if len(form["input_shape"]) == 2 else "images"
        if form["kind"] not in TELL:
            raise ValueError(f"{form['kind']} is no kind of prediction")
        return form
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}).") from None


# ---- reading ------------------------------------------------------------------------------------


def without_written(files):
    """The files that were not written here, beside another that is there; the others are said."""
    written = [
        file
        for file in files
        for ending in WRITTEN
        if file.endswith(ending) and Path(file.removesuffix(ending)).is_file()
    ]
    if written:
        print(f"skipped, as written by this: {', '.join(written)}", file=sys.stderr)
    kept = [file for file in files if file not in written]
    if not kept:
        raise ValueError("no other files are left.")
    return kept


def read(file, form):
    """What is in a file."""
    if not Path(file).is_file():
        raise ValueError(f"{file} is no file.")
    if Path(file).suffix.lower() in ARRAYS:
        raw = read_arrays(file, form)
        names = [file] if len(raw) == 1 else [f"{file}[{index}]" for index in range(len(raw))]
        return Inputs(raw, names)
    if form["examples"] == "series":
        raw, names = read_table(file, form)
        return Inputs(raw, [f"{file}[{name}]" for name in names])
    picture, size = read_picture(file, form)
    return Inputs(picture[None], [file], size)


def read_arrays(file, form):
    """The images or series in an .npy file, or under `x` (or the only name) in an .npz file."""
    shape, what = form["input_shape"], form["examples"]
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                names = found.files if len(found.files) == 1 else ["x"]
                found = found[names[0]]
    except Exception as error:  # damaged archives raise many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file} holds no array of {what} that can be read ({reason}).") from None
    shapes = (shape, shape[:-1]) if shape[-1] == 1 else (shape,)
    if found.shape not in shapes and found.shape[1:] not in shapes:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{file} must hold {what} [{wanted}] or several; got {[*found.shape]}.")
    if found.dtype.kind not in "biuf" or not np.isfinite(found).all():
        raise ValueError(f"{file} must hold finite numbers; got {found.dtype}, or NaN in it.")
    return found.reshape(-1, *shape).astype(np.float32)


def read_picture(file, form):
    """A picture as a raw image, upright, on white where it is transparent, resized with
    antialiasing, with the network's channels, and of the scale of the images trained on; and its
    own size."""
    (height, width, channels), scale = form["input_shape"], form["scale"]
    if scale is None:
        raise ValueError(
            f"{file} is no .npy or .npz file; this network was trained on arrays whose values "
            "pictures do not have."
        )
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ModuleNotFoundError:
        raise ValueError(f"{file} needs pillow to be read: pip install pillow.") from None
    try:
        with Image.open(file, formats=FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
            own, deep = image.size, image.mode[0] in "IF"  # grey of 16 bits
            if image.has_transparency_data and not deep:
                white = Image.new("RGBA", own, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            if deep:
                image = Image.fromarray(np.asarray(image, np.float32) / np.float32(257))
            else:
                image = image.convert("L" if channels == 1 else "RGB")
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, np.float32).reshape(height, width, -1)
    except UnidentifiedImageError:
        raise ValueError(f"{file} is neither PNG nor JPEG by its content.") from None
    except Exception as error:  # Pillow raises whatever its decoders meet in broken bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file} is no picture that can be read ({reason}).") from None
    return np.repeat(pixels, channels // pixels.shape[2], 2) * np.float32(scale), own


def read_table(file, form):
    """The series of a table, and the name of each: a row a series, or a row a moment where a column
    names its series. A column of labels may be there; it is not read."""
    about, (length, channels) = form["table"] or TABLE, form["input_shape"]
    columns = read_columns(file)
    for what, does in (("series", "names the series"), ("time", "orders their moments")):
        if form["table"] and about[what] is not None and about[what] not in columns:
            raise ValueError(f"{file} must have a column {about[what]!r} that {does}.")
    names = columns.get(about["series"])
    skipped = (about["label"], *((about["series"], about["time"]) if names is not None else ()))
    titles = [name for name in columns if name not in skipped]
    titles = as_trained(file, titles, about.get("moments" if names is None else "channels"))
    values = numbers(file, {title: columns[title] for title in titles})
    if names is None:
        found = {str(row): one[:, None] for row, one in enumerate(values)}
    else:
        found = gathered(file, names, columns.get(about["time"]), values)
    shaped = []
    for name, one in found.items():
        if one.shape[1] != channels:
            raise ValueError(f"{file} must have {channels} columns of values; got {one.shape[1]}.")
        if len(one) != length and not about["fits"]:
            raise ValueError(f"{file} must have {length} moments a series; {name} has {len(one)}.")
        last = np.repeat(one[-1:], max(0, length - len(one)), 0)
        shaped.append(np.concatenate([one[:length], last]))
    return np.stack(shaped).astype(np.float32), list(found)


def as_trained(file, titles, wanted):
    """The columns of values in the order of those trained on, where their names are known. What
    else is there is left out with a word."""
    if not wanted:
        return titles
    missing, others = (
        [name for name in some if name not in known]
        for some, known in ((wanted, set(titles)), (titles, set(wanted)))
    )
    if missing:
        raise ValueError(f"{file} must have a column {listed(missing)}, as the table trained on.")
    if others:
        what = "which the table trained on had not"
        print(f"note: {file}: left out {listed(others)}, {what}.", file=sys.stderr)
    return wanted


def listed(names):
    """The first of some names, and how many more there are."""
    return f"{names[0]!r}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def read_columns(file):
    """The columns of a .csv file by name, as text."""
    if Path(file).suffix.lower() != ".csv":
        raise ValueError(f"{file} must end in .csv, .npy or .npz: this network is for series.")
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            first = opened.readline()
            opened.seek(0)
            rows = csv.reader(opened, delimiter=max(",;\t", key=first.count), strict=True)
            rows = [row for row in rows if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no table that can be read ({error}).") from None
    header = [name.strip() for name in rows[0]] if rows else []
    odd = [row for row in rows if len(row) != len(header)]
    if len(rows) < 2 or odd or len(set(header)) < len(header):
        raise ValueError(f"{file} must have a header of different names, and rows as long as it.")
    return dict(zip(header, zip(*rows[1:], strict=True), strict=True))


def numbers(file, columns):
    """The columns as one array `[rows, columns]`."""
    for title, column in columns.items():
        for text in column:
            try:
                finite = np.isfinite(float(text))
            except ValueError:
                finite = False
            if not finite:
                raise ValueError(f"{file} must have finite numbers; got {text!r} in {title!r}.")
    rows = len(next(iter(columns.values()), ()))
    return np.array([*columns.values()], np.float64).reshape(-1, rows).T


def gathered(file, names, times, values):
    """The moments of each series by its name, in the order of time."""
    rows_of = {}
    for row, name in enumerate(names):
        rows_of.setdefault(name, []).append(row)
    if times is not None:
        try:
            times = [float(one) for one in times]
        except ValueError:
            pass  # text, such as dates
        for name, rows in rows_of.items():
            rows.sort(key=times.__getitem__)
            if len({times[row] for row in rows}) < len(rows):
                raise ValueError(f"{file} must have each time once a series; {name!r} has not.")
    return {name: values[rows] for name, rows in rows_of.items()}


# ---- predicting ---------------------------------------------------------------------------------


def predicted(raw, form):
    """The network's logits, or numbers, for each raw image or series."""
    sys.path.insert(0, str(FOLDER))
    import model  # slow to import: bad files have been refused by now

    variables, parts = model.load(), []
    x = (raw - form["mean"]) / form["std"]
    size = min(BATCH, len(x))
    for start in range(0, len(x), size):
        part = x[start : start + size]
        filled = np.concatenate([part, np.zeros((size - len(part), *x.shape[1:]), np.float32)])
        parts.append(np.asarray(model.logits(variables, filled), float)[: len(part)])
    return np.concatenate(parts)


# ---- telling ------------------------------------------------------------------------------------


def tell_classes(file, inputs, logits, form):
    """Lines of classes and their probabilities."""
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return likeliest(inputs.names, odds / odds.sum(-1, keepdims=True), form)


def tell_labels(file, inputs, logits, form):
    """Lines of labels and their probabilities."""
    return likeliest(inputs.names, 0.5 * (1 + np.tanh(logits / 2)), form)


def likeliest(names, odds, form):
    """A line each, of the `TOP`."""
    titles = titles_of(form)
    for name, row in zip(names, odds, strict=True):
        best = np.argsort(-row, kind="stable")[:TOP]
        yield [name, *(f"{titles[label]} {row[label]:.4f}" for label in best)]


def titles_of(form):
    """What the classes are called."""
    return form["class_names"] or [str(label) for label in range(form["num_classes"])]


def tell_numbers(file, inputs, logits, form):
    """Lines of numbers."""
    for name, row in zip(inputs.names, logits, strict=True):
        yield [name, *(f"{one:.7g}" for one in row)]


def write_classes(file, inputs, logits, form):
    """Writes the likeliest class of each place: a picture of its own size for a picture, where a
    byte can count the classes; else an array. A line with the share of each class."""
    classes, num = logits.argmax(-1).astype(np.int32), form["num_classes"]
    if inputs.size is not None and num <= 256:
        from PIL import Image

        path = f"{file}{WRITTEN[0]}"
        image = Image.fromarray(classes[0].astype(np.uint8))
        image.putpalette([step * label % 256 for label in range(num) for step in (97, 151, 211)])
        image.resize(inputs.size, Image.Resampling.NEAREST).save(path)
    else:
        path = f"{file}{WRITTEN[1]}"
        np.save(path, classes)
    shares = np.bincount(classes.ravel(), minlength=num) / classes.size
    yield [file, path, *next(likeliest([file], shares[None], form))[1:]]


def write_numbers(file, inputs, logits, form):
    """Writes an array, and a line that says where."""
    path = f"{file}{WRITTEN[2]}"
    np.save(path, logits.astype(np.float32))
    yield [file, path]


# kind -> lines(file, inputs, logits, form), each a list of fields
TELL = {
    "classification": tell_classes,
    "multi_label": tell_labels,
    "regression": tell_numbers,
    "segmentation": write_classes,
    "dense_regression": write_numbers,
}


def main(arguments):
    """Prints the lines; returns the exit code."""
    if not arguments or arguments[0].startswith("-"):
        usage = "usage: python predict.py FILE...   (pictures or tables of series, .npy, .npz)"
        print(usage, file=sys.stderr)
        return 2
    try:
        form, files = read_form(), without_written(arguments)
        inputs = [read(file, form) for file in files]
        logits = predicted(np.concatenate([one.raw for one in inputs]), form)
        ends = np.cumsum([len(one.raw) for one in inputs])[:-1]
        for file, one, part in zip(files, inputs, np.split(logits, ends), strict=True):
            for line in TELL[form["kind"]](file, one, part, form):
                print(*line, sep="\t")
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
