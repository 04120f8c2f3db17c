"""A task from a data set of tensorflow-datasets that lies on disk as array_record.

It is read without TensorFlow and without the code that made it, and nothing is downloaded. To
prepare it once, which for many data sets needs TensorFlow, is the user's; the error says how.
Images that would take more than half of the memory are decoded when a batch needs them, where their
form is known beforehand: all are of one shape, or `size` is given.
"""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nasgen.data.arrays import from_arrays
from nasgen.data.images import Form, common_form, form_notes, form_of, is_transparent, pixels
from nasgen.data.rows import Rows, one_by_one
from nasgen.data.splits import held_out_parts, split_of
from nasgen.data.task import Dataset, check_memory, fits

VARIABLE = "TFDS_DATA_DIR"
NAME = re.compile(r"(\w+)(?:/(\w[\w.+-]*))?(?::(\d+\.\d+\.\d+))?")  # name/config:version
INFO, FEATURES, FORMAT = "dataset_info.json", "features.json", "array_record"
_TRUSTED = "tensorflow_datasets.core.features."  # what a file may have imported


def from_tfds(
    dataset: str,
    *,
    path: str | os.PathLike | None = None,
    seed: int = 0,
    size: int | None = None,
    kind: str | None = None,
    metric: str | None = None,
) -> Dataset:
    """A data set by its name there, as `mnist`, `mnist:3.0.1` or `name/config:1.0.0`.

    path: its `data_dir`; by default what TFDS_DATA_DIR names, else ~/tensorflow_datasets. size: of
    images, as in `image_folder`. kind: of labels, by default told by them. metric: as in
    `from_arrays`. Inputs and labels are its supervised keys. Raises ValueError, in one line, where
    it is not there or will not do.
    """
    folder = prepared_folder(dataset, path)
    _check_features(folder)
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    keys = builder.info.supervised_keys
    if not (isinstance(keys, tuple) and len(keys) == 2 and all(isinstance(k, str) for k in keys)):
        raise ValueError(f"`dataset` must have an input and a label; {dataset} has keys {keys}.")
    sources = {split_of(one): one for one in builder.info.splits if split_of(one)}
    if "train" not in sources:
        raise ValueError(
            f"`dataset` must have a split `train`; {dataset} has {sorted(builder.info.splits)}."
        )
    features, found = builder.info.features, builder.as_data_source()
    form = _known_form(features[keys[0]], size)
    total = sum(len(found[split]) for split in sources.values())
    if form is not None and not fits((total, *form), part=0.5):
        labelled = builder.as_data_source(decoders={keys[0]: tfds.decode.SkipDecoding()})
        parts = {
            part: (_decoded_later(found[split], keys[0], form), _labels(labelled[split], keys[1]))
            for part, split in sources.items()
        }
        notes, pictures = ("Images are read from the disk as they are needed.",), True
    else:
        parts = {part: _columns(found[split], keys) for part, split in sources.items()}
        pictures = all(one.dtype == np.uint8 for x, _ in parts.values() for one in x)
        parts, notes = _one_form(parts, size)
    class_names = tuple(getattr(features[keys[1]], "names", None) or ())
    x, y = parts.pop("train")
    held_out, note = held_out_parts(parts)
    return from_arrays(
        x,
        y,
        name=NAME.fullmatch(dataset)[1],
        seed=seed,
        num_classes=len(class_names) or None,
        kind=kind,
        metric=metric,
        dims=2 if x.ndim == 4 else 1,
        class_names=class_names,
        notes=(*notes, *note),
        white=255.0 if pictures else None,
        **held_out,
    )


def prepared_folder(dataset: str, path: str | os.PathLike | None = None) -> Path:
    """The folder of the newest version on disk. Raises ValueError, with the folder that was looked
    at and the command that prepares the data set, where there is none as array_record; and where
    what reads it is not installed."""
    match = NAME.fullmatch(dataset)
    if not match:
        raise ValueError(f"`dataset` must be name, name/config or name:1.0.0; got {dataset!r}.")
    name, config, version = match.groups()
    given = path or os.environ.get(VARIABLE) or Path.home() / "tensorflow_datasets"
    data_dir = Path(given).expanduser().absolute()
    folder = data_dir / name / (config or "")
    found = [one for one in folder.glob("*.*.*") if (one / INFO).is_file()]
    found = [one for one in found if version in (None, one.name)]
    prepare = f"tfds build {dataset} --data_dir={data_dir} --file_format={FORMAT}"
    if not found:
        configs = sorted(one.parent.parent.name for one in folder.glob(f"*/*.*.*/{INFO}"))
        end = f"; its configs there are {', '.join(configs)}" if configs else ""
        raise ValueError(
            f"`dataset` {dataset} must be on disk; looked at {folder}, which has none{end}. "
            f"This prepares it: {prepare}"
        )
    for module in ("tensorflow_datasets", "array_record"):
        if find_spec(module) is None:
            raise ValueError(
                f"`dataset` {dataset} needs {module}, which is not installed: "
                'pip install "nasgen[tfds]".'
            )
    newest = max(found, key=lambda one: [int(part) for part in re.findall(r"\d+", one.name)])
    stored = _json(newest / INFO).get("fileFormat")
    if stored != FORMAT:
        raise ValueError(
            f"`dataset` {dataset} must be stored as {FORMAT}; {newest} has {stored or 'tfrecord'}. "
            f"This prepares it: {prepare} --overwrite"
        )
    return newest


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`dataset` must have a readable {file.name}: {reason}.") from None
    if not isinstance(found, dict):
        raise ValueError(f"`dataset` must have a JSON object in {file}; it has another value.")
    return found


def _check_features(folder: Path) -> None:
    """Raises ValueError for a description that would have other modules imported than the features
    of tensorflow-datasets themselves. Classes are named by either form of the description's field,
    or by `type` in the older one; parts of it may be JSON in a string."""

    def walk(value: Any) -> None:
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return  # then nobody else can read it either
        if isinstance(value, dict):
            names = [value[key] for key in ("pythonClassName", "python_class_name") if key in value]
            names += [value["type"]] if "content" in value and "type" in value else []
            for named in names:
                if not str(named).startswith(_TRUSTED):
                    raise ValueError(
                        f"`dataset` must have features of tensorflow-datasets; {folder / FEATURES} "
                        f"names {named!r}."
                    )
            value = list(value.values())
        for one in value if isinstance(value, list) else ():
            walk(one)

    walk(_json(folder / FEATURES))


def _known_form(feature: Any, size: int | None) -> Form | None:
    """What every image will be, where that is known of pictures without reading them."""
    shape = tuple(getattr(feature, "shape", None) or ())
    if len(shape) != 3 or feature.np_dtype != np.uint8 or shape[2] not in (1, 3):
        return None
    if size is not None:
        return common_form([Form(size, size, shape[2])], size=size)
    return Form(*shape) if all(shape) else None


def _decoded_later(source: Any, key: str, form: Form) -> Rows:
    """The images of a split, in the order on disk."""

    def picture(index: int) -> np.ndarray:
        return pixels(_picture(np.asarray(source[index][key])), form)

    return one_by_one(picture, (len(source), *form), threads=True)


def _labels(source: Any, key: str) -> np.ndarray:
    return np.stack([np.asarray(source[index][key]) for index in range(len(source))])


def _columns(source: Any, keys: tuple[str, str]) -> tuple[list[np.ndarray], np.ndarray]:
    """Inputs and labels of a split, in the order on disk."""
    examples = [source[index] for index in range(len(source))]
    x, y = ([np.asarray(example[key]) for example in examples] for key in keys)
    return x, np.stack(y)


def _one_form(
    parts: dict[str, tuple[list[np.ndarray], np.ndarray]], size: int | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], tuple[str, ...]]:
    """Inputs as one array a split: images of mixed sizes are resized, as are all with a `size`."""
    inputs = [one for x, _ in parts.values() for one in x]
    if size is None and len({one.shape for one in inputs}) == 1:
        check_memory((len(inputs), *inputs[0].shape), "dataset", "set `size`")
        return {part: (np.stack(x), y) for part, (x, y) in parts.items()}, ()
    if any(one.dtype != np.uint8 or one.ndim != 3 for one in inputs):
        raise ValueError("`dataset` must have inputs of one shape, or images of uint8.")
    pictures = [_picture(one) for one in inputs]
    forms, transparent = [form_of(one) for one in pictures], sum(map(is_transparent, pictures))
    form = common_form(forms, size=size)
    check_memory((len(inputs), *form), "dataset", "set a smaller `size`")
    parts = {
        part: (np.stack([pixels(_picture(one), form) for one in x]), y)
        for part, (x, y) in parts.items()
    }
    return parts, form_notes(forms, form, transparent=transparent)


def _picture(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
