"""A task from a folder of images, PNG or JPEG, a folder for each class.

    photos/cat/1.png  photos/dog/a/2.jpg            split 60/20/20
    photos/train/cat/1.png  photos/test/dog/2.jpg   split as the folders say

Names of classes, in the order of numbers or of letters, are kept in the task. Hidden files are
passed over. Nothing is read outside the folder, and pictures are known by their content. Where all
of them would take more than half of the memory, each is read when it is needed.
"""

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nasgen.data.arrays import from_arrays
from nasgen.data.images import Form, common_form, form_notes, form_of, is_transparent, pixels
from nasgen.data.rows import Rows, Unreadable, one_by_one
from nasgen.data.splits import held_out_parts, split_of
from nasgen.data.targets import MIN_EXAMPLES, in_order
from nasgen.data.task import Dataset, fits

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
CORRUPT = ("refuse", "skip")  # what to do about images that cannot be read


class _Labelled(NamedTuple):
    """A file and its class; `form` is None where it cannot be read, and `why` says why."""

    file: Path
    label: int
    form: Form | None = None
    why: str = ""
    transparent: bool = False


def from_image_folder(
    path: str | os.PathLike,
    *,
    seed: int = 0,
    size: int | None = None,
    corrupt: str = "refuse",
    metric: str | None = None,
) -> Dataset:
    """A data set from a folder of class folders, which may lie in folders train, validation, test.

    size: of each side in pixels; by default the median height and width. corrupt: `refuse` stops at
    images that cannot be read, `skip` leaves them out and says so. Of images that are read when
    they are needed only the headers are read before, unless some are to be skipped: then each is
    once. metric: as in `from_arrays`. The task takes the folder's name. Raises ValueError, in one
    line, where the folder will not do.
    """
    if corrupt not in CORRUPT:
        raise ValueError(f"`corrupt` must be one of {', '.join(CORRUPT)}; got {corrupt!r}.")
    root = Path(path).resolve()
    folders = split_folders(root)
    class_names = _class_names(root, folders["train"])
    notes, listed = [], {}
    if folders == {"train": root}:
        notes += _guess_notes([root / name for name in class_names], class_names)
    for part, folder in folders.items():
        listed[part], ignored = _listing(root, folder, class_names)
        if ignored:
            first = _shown(ignored[0].relative_to(root))
            notes.append(f"{len(ignored)} files that are no PNG or JPEG were ignored: {first}, ...")
    opened = {part: [_open(one, root) for one in files] for part, files in listed.items()}
    forms = [one.form for files in opened.values() for one in files if one.form]
    if not forms:
        first = next(iter(opened["train"]))
        raise ValueError(
            f"`path` {str(path)!r} must hold images that can be read; none can, the first is "
            f"'{_shown(first.file.relative_to(root))}' ({first.why})."
        )
    form = common_form(forms, size=size)
    if fits((len(forms), *form), part=0.5):
        decoded = {part: _decode(files, form) for part, files in opened.items()}
    else:
        check = corrupt == "skip"
        decoded = {p: _decode_later(files, form, root, check) for p, files in opened.items()}
        notes.append("Images are read from the disk as they are needed.")
    broken = [one for _, _, broken in decoded.values() for one in broken]
    if broken:
        notes.append(_say_broken(broken, sum(map(len, opened.values())), root, corrupt))
    parts = {
        part: (x, np.array([one.label for one in good], np.int32))
        for part, (x, good, _) in decoded.items()
    }
    read = [one for _, good, _ in decoded.values() for one in good]
    transparent = sum(one.transparent for one in read)
    notes += form_notes([one.form for one in read], form, transparent=transparent)
    x, y = parts.pop("train")
    _check_counts(y, class_names)
    held_out, note = held_out_parts(parts)
    return from_arrays(
        x,
        y,
        name=root.name or "images",
        seed=seed,
        num_classes=len(class_names),
        kind="classification",
        metric=metric,
        class_names=class_names,
        notes=(*notes, *note),
        white=255.0,
        **held_out,
    )


def split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split, `train` first; of `train` alone, the root itself, where its class
    folders are not split yet. Raises ValueError where there are no class folders, and where some
    folders are splits and others are not."""
    if not root.is_dir():
        raise ValueError(f"`path` must be a folder of images; got {str(root)!r}, which is none.")
    folders = [one for one in _visible(root) if one.is_dir()]
    if not folders:
        raise ValueError(
            f"`path` must have a folder of images for each class; {str(root)!r} has no folders."
        )
    names = [split_of(folder.name) for folder in folders]
    for folder, name in zip(folders, names, strict=True):
        if name is not None:
            _check_link(folder, root)
    meant = [
        folder.name
        for folder, name in zip(folders, names, strict=True)
        if name is not None and _has_class_folders(folder)
    ]
    if not meant and ("train" not in names or set(names) == {"train", None}):
        return {"train": root}  # where `train` is beside other things, it is one of them
    if "train" not in names or len(set(names)) < len(names) or None in names:
        has = ", ".join(one.name for one in folders[:8]) + (", ..." if len(folders) > 8 else "")
        why = f", of which {meant[0]!r} holds class folders, as a split does" if meant else ""
        raise ValueError(
            f"`path` must have class folders only, or one folder a split and no others; "
            f"{str(root)!r} has {has}{why}: move what is no split away, and name the splits train, "
            "validation and test."
        )
    for folder in folders:
        if not any(one.is_dir() for one in _visible(folder)):
            raise ValueError(
                f"`path` must have class folders in its split folders; {folder.name!r} has none."
            )
    found = dict(zip(names, folders, strict=True))
    return {"train": found.pop("train"), **found}


def _has_class_folders(folder: Path) -> bool:
    """Whether there are folders in it that hold images, at any depth."""

    def has_images(entry: Path) -> bool:
        if entry.is_dir():
            return not entry.is_symlink() and any(map(has_images, _visible(entry)))
        return entry.suffix.lower() in SUFFIXES

    return any(has_images(one) for one in _visible(folder) if one.is_dir())


def _guess_notes(folders: Iterable[Path], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """What to say where folders that may be splits were taken for classes: some are called so, or
    the same two folders or more lie in each."""
    inner = [{one.name for one in _visible(f) if one.is_dir()} for f in folders]
    alike = len(inner[0]) > 1 and all(names == inner[0] for names in inner)
    if not alike and not any(map(split_of, class_names)):
        return ()
    named = ", ".join(class_names[:8]) + (", ..." if len(class_names) > 8 else "")
    return (f"Folders were taken for {len(class_names)} classes, not for splits: {named}.",)


def _class_names(root: Path, folder: Path) -> tuple[str, ...]:
    folders = [one.name for one in _visible(folder) if one.is_dir()]
    for name in (root.name, *folders):
        if _shown(name) != name:
            raise ValueError(
                "`path` must have folders whose names are UTF-8, for they name the task and its "
                f"classes; '{_shown(name)}' is not: rename it."
            )
    if len(folders) < 2:
        where = "" if folder == root else f" in {folder.name!r}"
        raise ValueError(
            f"`path` must have two class folders or more{where}; "
            f"{str(root)!r} has {', '.join(map(repr, folders))}."
        )
    return in_order(folders)


def _listing(
    root: Path, folder: Path, class_names: tuple[str, ...]
) -> tuple[list[_Labelled], list[Path]]:
    """The images below a split's folder, with their classes; and the other files."""
    labelled, ignored = [], []
    for class_folder in _visible(folder):
        if not class_folder.is_dir():
            ignored.append(class_folder)
            continue
        name = class_folder.name
        if name not in class_names:
            raise ValueError(
                f"`path` must have the same classes in each split; {name!r} is in "
                f"{folder.name!r}, but not among those to train on: {', '.join(class_names)}."
            )
        files = _files(class_folder, root)
        images = [one for one in files if one.suffix.lower() in SUFFIXES]
        if not images:
            other = f", only {files[0].name!r} and the like" if files else ""
            raise ValueError(
                f"`path` must have PNG or JPEG images in each class folder; "
                f"'{class_folder.relative_to(root)}' has none{other}."
            )
        labelled += [_Labelled(one, class_names.index(name)) for one in images]
        ignored += [one for one in files if one.suffix.lower() not in SUFFIXES]
    return labelled, ignored


def _shown(name: str | Path) -> str:
    """A name to write down: what is not UTF-8 in it as codes."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def _visible(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if not one.name.startswith("."))


def _files(folder: Path, root: Path) -> list[Path]:
    """All files below a folder. Raises ValueError for links that lead out of the root."""
    _check_link(folder, root)
    found = []
    for one in _visible(folder):
        if one.is_dir():
            found += _files(one, root)
        else:
            _check_link(one, root)
            found.append(one)
    return found


def _check_link(entry: Path, root: Path) -> None:
    """Raises ValueError for a link out of the root, and for one to a folder, which may turn in a
    circle."""
    if not entry.is_symlink():
        return
    target, where = entry.resolve(), entry.relative_to(root)
    if not target.is_relative_to(root):
        raise ValueError(f"`path` must hold no link that leads outside; '{where}' is one.")
    if target.is_dir():
        raise ValueError(f"`path` must hold no link to a folder; '{where}' is one.")


def _open(one: _Labelled, root: Path) -> _Labelled:
    """With its form, or why it has none; of the file only the header is read."""
    if not one.file.is_file():
        return one._replace(why="no file")
    try:
        with _opened(one.file) as image:
            return one._replace(form=form_of(image), transparent=is_transparent(image))
    except Exception as error:  # Pillow raises whatever its decoders meet in broken bytes
        return one._replace(why=_reason(error))


def _decode(
    files: Sequence[_Labelled], form: Form
) -> tuple[np.ndarray, list[_Labelled], list[_Labelled]]:
    """The images that can be read, their files, and the files that cannot be."""
    x = np.empty((len(files), *form), np.float32)
    good, broken = [], [one for one in files if one.form is None]
    for one in files:
        if one.form is None:
            continue
        try:
            with _opened(one.file) as image:
                x[len(good)] = pixels(image, form)
            good.append(one)
        except Exception as error:  # as above
            broken.append(one._replace(why=_reason(error)))
    return x[: len(good)], good, broken


def _decode_later(
    files: Sequence[_Labelled], form: Form, root: Path, check: bool
) -> tuple[Rows, list[_Labelled], list[_Labelled]]:
    """As `_decode`, but of images that are read when they are asked for; check: whether each is
    read once to know."""

    def why_not(one: _Labelled) -> str:
        if one.form is None or not check:
            return one.why
        try:
            with _opened(one.file) as image:
                image.load()
        except Exception as error:  # as above
            return _reason(error)
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = list(pool.map(why_not, files))
    good = [one for one, why in zip(files, reasons, strict=True) if not why]
    broken = [one._replace(why=why) for one, why in zip(files, reasons, strict=True) if why]

    def picture(index: int) -> np.ndarray:
        file = good[index].file
        try:
            with _opened(file) as image:
                return pixels(image, form)
        except Exception as error:  # as above
            name = _shown(file.relative_to(root))
            raise Unreadable(
                f"`path` must hold images that can be read; '{name}' cannot ({_reason(error)}): "
                "remove it, or set `corrupt` to 'skip'."
            ) from None

    return one_by_one(picture, (len(good), *form), threads=True), good, broken


def _opened(file: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file, formats=FORMATS)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "neither PNG nor JPEG by its content"
    return " ".join(str(error).split()) or type(error).__name__


def _say_broken(broken: Sequence[_Labelled], total: int, root: Path, corrupt: str) -> str:
    """What was left out. Raises ValueError where that is refused."""
    broken = sorted(broken)
    named = ", ".join(f"'{_shown(one.file.relative_to(root))}' ({one.why})" for one in broken[:4])
    named += ", ..." if len(broken) > 4 else ""
    if corrupt == "refuse":
        raise ValueError(
            f"`path` must hold images that can be read; {len(broken)} of {total} cannot: {named}; "
            "remove them, or set `corrupt` to 'skip'."
        )
    return f"{len(broken)} of {total} images cannot be read and were left out: {named}."


def _check_counts(y: np.ndarray, class_names: tuple[str, ...]) -> None:
    counts = np.bincount(y, minlength=len(class_names))
    if counts.min() < MIN_EXAMPLES:
        raise ValueError(
            f"`path` must have {MIN_EXAMPLES} images or more of each class to train on; got "
            f"{counts.min()} of {class_names[counts.argmin()]!r}."
        )
