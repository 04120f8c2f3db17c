"""Folders of real images: every image once, split by seed or by folders, brought to one form."""

import os

import numpy as np
import pytest
from PIL import Image

from nasgen.data import check, load
from nasgen.data.images import Form, common_form, form_of, pixels
from nasgen.data.rows import Rows, Unreadable
from tests.data.photos import write_digits, write_photographs


def raw(data, split):
    return (split.x * data.std + data.mean).round().astype(np.uint8)


def test_every_digit_comes_back_once_with_its_class(tmp_path):
    write_digits(tmp_path / "figures", classes=4)
    (tmp_path / "figures" / "0" / ".hidden.png").write_bytes(b"no image")
    (tmp_path / "figures" / ".cache").mkdir()
    data, again, other = (load("own", path=tmp_path / "figures", seed=s) for s in (0, 0, 1))
    assert data.task[:3] == ("figures", (8, 8, 1), 4)
    assert data.task.class_names == ("0", "1", "2", "3") and data.notes == ()
    assert data.white == 255
    files = sorted((tmp_path / "figures").rglob("[!.]*.png"))
    class_of = {np.asarray(Image.open(f)).tobytes(): int(f.parent.name) for f in files}
    assert len(class_of) == 40
    for split, same in zip(data[1:4], again[1:4], strict=True):
        assert np.array_equal(split.x, same.x) and np.array_equal(split.y, same.y)
        assert [class_of.pop(image.tobytes()) for image in raw(data, split)] == list(split.y)
    assert not class_of
    assert not np.array_equal(data.test.x, other.test.x)


def test_a_metric_can_be_chosen(tmp_path):
    write_digits(tmp_path)
    assert load("own", path=tmp_path).task.metric == "accuracy"
    assert load("own", path=tmp_path, metric="macro_f1").task.metric == "macro_f1"
    with pytest.raises(ValueError, match="`metric` of .* must be one of accuracy, .* 'mean_iou'"):
        load("own", path=tmp_path, metric="mean_iou")


def test_numbers_order_as_numbers(tmp_path):
    for name in ("10", "9", "2"):
        write_digits(tmp_path / "tmp", classes=1, each=5)
        os.renames(tmp_path / "tmp" / "0", tmp_path / "all" / name)
    assert load("own", path=tmp_path / "all").task.class_names == ("2", "9", "10")


def test_split_folders_stay_as_they_are(tmp_path):
    for part, start, each in (("train", 0, 8), ("VAL", 8, 3), ("test", 11, 5)):
        write_digits(tmp_path / part, start=start, each=each)
    data = load("own", path=tmp_path)
    assert [len(split.y) for split in data[1:4]] == [24, 9, 15]
    for split, part in zip(data[1:4], ("train", "VAL", "test"), strict=True):
        images = sorted((tmp_path / part).rglob("*.png"))
        wanted = {np.asarray(Image.open(one)).tobytes() for one in images}
        assert {image.tobytes() for image in raw(data, split)} == wanted


@pytest.mark.parametrize("name", ["test", "valid"])
def test_a_single_held_out_folder_is_the_test(tmp_path, name):
    write_digits(tmp_path / "train", each=10)
    write_digits(tmp_path / name, start=10, each=2)
    data = load("own", path=tmp_path)
    assert [len(split.y) for split in data[1:4]] == [24, 6, 6]
    assert len(data.notes) == (name == "valid")
    held = {np.asarray(Image.open(one)).tobytes() for one in (tmp_path / name).rglob("*.png")}
    assert {image.tobytes() for image in raw(data, data.test)} == held


def test_train_may_be_a_class(tmp_path):
    write_digits(tmp_path)
    for label, name in enumerate(("train", "bus", "car")):
        (tmp_path / str(label)).rename(tmp_path / name)
    data = load("own", path=tmp_path)
    assert data.task.class_names == ("bus", "car", "train")
    note = "Folders were taken for 3 classes, not for splits: bus, car, train."
    assert data.notes == (note,)


@pytest.mark.parametrize("beside", ["test1/1.png", "unlabelled/a/1.png", "val/0/1.png"])
def test_a_folder_that_is_partly_split_is_refused(tmp_path, beside):
    """As competitions hand data out: the images to be judged lie in no class folders."""
    split = "Training" if "val" not in beside else "test"
    write_digits(tmp_path / split)
    other = tmp_path / beside
    other.parent.mkdir(parents=True)
    next((tmp_path / split / "0").iterdir()).rename(other)
    for refuse in (check, load):
        with pytest.raises(
            ValueError, match="holds class folders, as a split does: move"
        ) as caught:
            refuse("own", path=tmp_path)
        assert beside.split("/")[0] in str(caught.value) and "\n" not in str(caught.value)


def test_class_folders_that_look_like_splits_are_said(tmp_path):
    for number, name in enumerate(("training_set", "test_set")):
        write_digits(tmp_path / name, classes=2, start=10 * number)
    (note,) = load("own", path=tmp_path).notes
    assert note == "Folders were taken for 2 classes, not for splits: test_set, training_set."
    (tmp_path / "test_set" / "1").rename(tmp_path / "test_set" / "2")
    assert load("own", path=tmp_path).notes == ()


def test_photographs_of_mixed_sizes_are_resized_to_the_median_with_a_word(tmp_path):
    write_photographs(tmp_path)
    sizes = [Image.open(one).size[::-1] for one in sorted(tmp_path.rglob("*.*"))]
    height, width = (round(float(np.median(side))) for side in zip(*sizes, strict=True))
    data = load("own", path=tmp_path)
    assert data.task.input_shape == (height, width, 3)
    assert data.task.class_names == ("flower", "temple")
    (note,) = data.notes
    assert "of 16 images" in note and f"{height}x{width}" in note
    # Resizing keeps what the pictures show: the mean colour of each, to a few levels.
    means = {one.parent.name + one.name: np.asarray(Image.open(one)).mean((0, 1))
             for one in tmp_path.rglob("*.*")}  # fmt: skip
    found = (data.train.x * data.std + data.mean).mean((1, 2))
    nearest = [min(np.abs(mean - one).max() for mean in means.values()) for one in found]
    assert max(nearest) < 3
    assert load("own", path=tmp_path, size=24).task.input_shape == (24, 24, 3)


def test_colour_is_that_of_the_majority(tmp_path):
    write_digits(tmp_path, classes=2, each=6)
    for index, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        if index % 4 == 0:
            Image.open(file).convert("RGB").save(file)
    data = load("own", path=tmp_path)
    assert data.task.input_shape == (8, 8, 1)
    assert data.notes == ("3 of 12 images were made grey, like most.",)


def test_files_of_other_kinds_are_ignored_with_a_word(tmp_path):
    write_digits(tmp_path)
    (tmp_path / "1" / "notes.txt").write_text("three")
    (tmp_path / "README.md").write_text("digits")
    (note,) = load("own", path=tmp_path).notes
    assert note.startswith("2 files that are no PNG or JPEG were ignored: ")


def test_corrupt_images_are_named_and_refused_or_skipped(tmp_path):
    write_digits(tmp_path)
    files = sorted((tmp_path / "1").iterdir())
    files[2].write_bytes(files[2].read_bytes()[:60])  # a whole header, half of the pixels
    files[5].write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match=r"2 of 30 cannot: '1/.*`corrupt`") as caught:
        load("own", path=tmp_path)
    assert files[5].name in str(caught.value) and "\n" not in str(caught.value)
    data = load("own", path=tmp_path, corrupt="skip")
    assert sum(len(split.y) for split in data[1:4]) == 28
    (note,) = data.notes
    assert files[2].name in note and files[5].name in note and "2 of 30" in note


def test_more_than_the_memory_holds_is_read_when_it_is_needed(tmp_path, monkeypatch):
    write_photographs(tmp_path, each=10)
    whole = load("own", path=tmp_path)
    monkeypatch.setattr("nasgen.data.image_folder.fits", lambda *shape, **part: False)
    later = load("own", path=tmp_path)
    assert later.task == whole.task and later.white == whole.white
    assert later.notes == ("Images are read from the disk as they are needed.", *whole.notes)
    for split, same in zip(later[1:4], whole[1:4], strict=True):
        assert isinstance(split.x, Rows) and np.array_equal(split.y, same.y)
        np.testing.assert_allclose(split.x[:], same.x, atol=1e-5)


def test_of_images_that_are_read_later_broken_ones_are_named_then_or_skipped(tmp_path, monkeypatch):
    write_photographs(tmp_path, each=10)
    torn = tmp_path / "flower" / "3.png"
    torn.write_bytes(torn.read_bytes()[:400])  # its header is whole
    (tmp_path / "temple" / "0.jpg").write_bytes(b"no image")
    monkeypatch.setattr("nasgen.data.image_folder.fits", lambda *shape, **part: False)
    with pytest.raises(ValueError, match=r"1 of 20 cannot: 'temple/0.jpg'"):
        load("own", path=tmp_path)
    (tmp_path / "temple" / "0.jpg").unlink()
    with pytest.raises(Unreadable, match="'flower/3.png' cannot .*: remove it, or set `corrupt`"):
        for split in load("own", path=tmp_path)[1:4]:
            split.x[:]
    data = load("own", path=tmp_path, corrupt="skip")
    assert sum(len(split.x[:]) for split in data[1:4]) == 18
    assert any("1 of 19 images cannot be read and were left out" in note for note in data.notes)


def test_names_that_are_not_utf_8_are_refused_or_written_as_codes(tmp_path):
    """Such as unpacked archives of Latin-1 leave; they cannot be written into reports."""
    write_digits(tmp_path)
    (tmp_path / "0" / os.fsdecode(b"caf\xe9.txt")).write_text("a")
    (note,) = load("own", path=tmp_path).notes
    assert r"0/caf\udce9.txt" in note
    (tmp_path / "0").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(ValueError, match=r"names are UTF-8, .*'caf\\udce9' is not") as caught:
        load("own", path=tmp_path)
    assert str(caught.value).isprintable()


def test_forms():
    forms = [Form(4, 10, 1), Form(8, 20, 3), Form(9, 30, 1), Form(100, 40, 3)]
    assert common_form(forms) == (8, 25, 3)
    assert common_form(forms[:3]) == (8, 20, 1)
    assert common_form(forms, size=7) == (7, 7, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_levels_of_0_to_255(mode):
    levels = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(levels).convert("RGB" if mode in ("P", "CMYK") else "L")
        image = image.quantize() if mode == "P" else image.convert(mode, dither=Image.Dither.NONE)
    assert image.mode == mode
    channels = form_of(image).channels
    assert channels == (1 if mode[0] in "1LI" else 3)
    wanted = np.where(levels > 127, 255, 0) if mode == "1" else levels
    for form in (Form(4, 4, 1), Form(4, 4, 3)):
        found = pixels(image, form)
        assert found.dtype == np.float32 and found.shape == form
        assert np.abs(found - wanted[..., None]).max() <= 1


def sticker(mode):
    """A black disc in 12x12 pixels, transparent around it, and what it looks like on white."""
    disc = np.hypot(*(np.indices((12, 12)) - 5.5)) < 4
    alpha = np.where(disc, 255, 0).astype(np.uint8)
    if mode in ("P", "L", "RGB"):  # a colour is declared transparent
        levels = Image.fromarray(np.where(disc, 0, 7).astype(np.uint8)).convert(mode)
        levels.info["transparency"] = (7, 7, 7) if mode == "RGB" else 7
        return levels, 255 - alpha
    image = Image.fromarray(np.zeros_like(alpha)).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    return image, 255 - alpha


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparent_pictures_lie_on_white(tmp_path, mode):
    image, seen = sticker(mode)
    image.save(tmp_path / "a.png", **image.info)
    for channels in (1, 3):
        with Image.open(tmp_path / "a.png") as opened:
            assert opened.mode == mode
            found = pixels(opened, Form(12, 12, channels))
        np.testing.assert_array_equal(found, np.repeat(seen[..., None], channels, 2))


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (4, 4), (0, 100, 200, 51))  # a fifth of the colour
    found = pixels(image, Form(4, 4, 3))
    assert np.abs(found - (204, 224, 244)).max() <= 1


@pytest.mark.parametrize("now", [True, False])
def test_transparency_is_said(tmp_path, monkeypatch, now):
    write_digits(tmp_path, classes=2)
    for file in sorted((tmp_path / "1").iterdir())[:3]:
        image = Image.open(file).convert("L")
        image.putalpha(image.copy())
        image.save(file)
    if not now:
        monkeypatch.setattr("nasgen.data.image_folder.fits", lambda *shape, **part: False)
    assert load("own", path=tmp_path).notes[-1] == (
        "3 of 20 images have transparency: they lie on white."
    )


def test_photographs_lie_as_their_camera_held_them(tmp_path):
    levels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    Image.fromarray(levels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert form_of(image) == (6, 4, 1)
        assert np.array_equal(pixels(image, Form(6, 4, 1))[..., 0], np.rot90(levels, -1))
