"""Bad data of every source: one line that says what is wrong, and nothing of it is executed."""

import io
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from nasgen.data import load
from nasgen.data.batches import epoch_batches
from tests.data.bomb import Bomb
from tests.data.photos import write_digits

X = np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3)).astype(np.uint8)
Y = np.arange(30) % 3


def npz(path, **arrays):
    np.savez(path / "mine.npz", **{"x": X, "y": Y, **arrays})
    return path / "mine.npz"


def header_only(path, shape):
    """An archive whose array promises far more than it holds."""
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(header, about)
    labels = io.BytesIO()
    np.save(labels, Y)
    with zipfile.ZipFile(path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 64)
        archive.writestr("y.npy", labels.getvalue())
    return path / "mine.npz"


def bloated_header(path):
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"1," * 50_000 + b")}\n"
    with zipfile.ZipFile(path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text)
        archive.writestr("y.npy", b"")
    return path / "mine.npz"


def flipped_bit(path):
    file = npz(path)
    content = bytearray(file.read_bytes())
    content[1000] ^= 1  # of `x`
    file.write_bytes(content)
    return file


def pickled(path):
    (path / "mine.npz").write_bytes(pickle.dumps(Bomb()))
    return path / "mine.npz"


def bomb_in_member(path):
    with zipfile.ZipFile(path / "mine.npz", "w") as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, pickle.dumps(Bomb()))
    return path / "mine.npz"


def broken_pixels(path):
    x = X.astype(np.float32)
    x[11, 2, 3] = np.nan
    return npz(path, x=x)


def folder(change):
    """Thirty digits, changed."""

    def write(path):
        write_digits(path / "photos")
        change(path / "photos")
        return path / "photos"

    return write


def cut(photos):
    file = next((photos / "1").iterdir())
    file.write_bytes(file.read_bytes()[:50])


def huge(photos):
    """A PNG whose header promises a thousand million pixels."""
    header = struct.pack(">IIBBBBB", 32_000, 32_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, chunk in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000)))):
        check = struct.pack(">I", zlib.crc32(name + chunk))
        content += struct.pack(">I", len(chunk)) + name + chunk + check
    (photos / "1" / "huge.png").write_bytes(content)


def too_wide(photos):
    Image.new("L", (5000, 10)).save(photos / "1" / "wide.png")


def only_one(photos):
    for name in ("0", "2"):
        (photos / name).rename(photos / f".{name}")


def few(photos):
    for file in sorted((photos / "2").iterdir())[4:]:
        file.unlink()


def emptied(photos):
    for file in (photos / "2").iterdir():
        file.unlink()


def only_text(photos):
    emptied(photos)
    (photos / "2" / "a.gif").write_bytes(b"GIF89a")


def flat(photos):
    for file in photos.rglob("*.png"):
        file.rename(photos / file.name)
    for name in "012":
        (photos / name).rmdir()


def link_outside(photos):
    (photos.parent / "outside.png").write_bytes(b"secret")
    (photos / "1" / "link.png").symlink_to(photos.parent / "outside.png")


def link_by_dots(photos):
    (photos / "1" / "link.png").symlink_to("../../../outside.png")


def folder_outside(photos):
    write_digits(photos.parent / "elsewhere", classes=1)
    (photos / "3").symlink_to(photos.parent / "elsewhere" / "0")


def circle(photos):
    (photos / "1" / "again").symlink_to(photos)


def nowhere(photos):
    (photos / "1" / "link.png").symlink_to(photos / "gone.png")


def pipe(photos):
    os.mkfifo(photos / "1" / "pipe.png")  # reading it would wait for ever


def other_classes(photos):
    (photos.parent / "train").mkdir()
    for name in "012":
        (photos / name).rename(photos.parent / "train" / name)
    (photos.parent / "train").rename(photos / "train")
    write_digits(photos / "test", classes=4)


def split_and_more(photos):
    other_classes(photos)
    (photos / "masks").mkdir()


def split_of_files(photos):
    for label, name in enumerate(("train", "test", "val")):
        (photos / str(label)).rename(photos / name)


BAD = {
    "labels too high": (lambda path: npz(path, x_test=X, y_test=Y + 1), "`y_test` .* 0..2; got 3"),
    "labels below zero": (lambda path: npz(path, y=Y - 1), "`y` must be 0 or more; got -1"),
    "an empty class of labels": (lambda path: npz(path, y=Y * 2), "got 0 of class 1"),
    "one class of labels": (lambda path: npz(path, y=Y * 0), "two classes or more; got one"),
    "NaN pixels": (broken_pixels, "`x` must be finite; 1 images are not, the first is 11"),
    "objects": (lambda path: npz(path, y=np.array([Bomb()] * 30)), "Object arrays cannot"),
    "a pickle": (pickled, "of plain arrays.*no archive"),
    "a pickle inside": (bomb_in_member, "of plain arrays.*magic"),
    "a huge array": (lambda path: header_only(path, (10**6, 10**4, 10**4)), "takes 10{14}"),
    "an endless header": (bloated_header, "of plain arrays.*[Hh]eader"),
    "a flipped bit": (flipped_bit, "of plain arrays.*CRC"),
    "a corrupt image": (folder(cut), r"cannot: '1/\d+.png' \(.*truncated"),
    "a huge image": (folder(huge), r"cannot: '1/huge.png' \(Image size \(1024000000 pixels\)"),
    "a wide image": (folder(too_wide), r"cannot: '1/wide.png' \(10x5000 pixels; sides must be 2"),
    "a single class": (folder(only_one), "two class folders or more; .* has '1'"),
    "few images": (folder(few), "5 images or more of each class to train on; got 4 of '2'"),
    "an empty class": (folder(emptied), "images in each class folder; '2' has none"),
    "no PNG or JPEG": (folder(only_text), "'2' has none, only 'a.gif' and the like"),
    "no class folders": (folder(flat), "a folder of images for each class; .* has no folders"),
    "a link outside": (folder(link_outside), "no link that leads outside; '1/link.png' is one"),
    "a link by dots": (folder(link_by_dots), "no link that leads outside; '1/link.png' is one"),
    "a folder outside": (folder(folder_outside), "no link that leads outside; '3' is one"),
    "a circle": (folder(circle), "no link to a folder; '1/again' is one"),
    "a link to nothing": (folder(nowhere), r"cannot: '1/link.png' \(no file"),
    "a pipe": (folder(pipe), r"cannot: '1/pipe.png' \(no file"),
    "other classes in test": (folder(other_classes), "same classes in each .* '3' is in 'test'"),
    "splits and more": (folder(split_and_more), "or one folder a split and no others; .*masks"),
    "splits of files": (folder(split_of_files), "class folders in its split folders; 'test'"),
    "no such path": (lambda path: path / "none", "existing file or folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_line_and_executes_nothing(tmp_path, monkeypatch, name):
    monkeypatch.setenv("NASGEN_BOMB", str(tmp_path / "executed"))
    write, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        load("own", path=write(tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_the_bomb_would_go_off(tmp_path, monkeypatch):
    monkeypatch.setenv("NASGEN_BOMB", str(tmp_path / "executed"))
    pickle.loads(pickled(tmp_path).read_bytes())
    assert (tmp_path / "executed").exists()


def test_more_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    file = npz(tmp_path)
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 2))
    with pytest.raises(ValueError, match="`x` must fit into memory"):
        load("own", path=file)


def test_fewer_examples_than_the_batch(tmp_path):
    train = load("own", path=npz(tmp_path)).train
    with pytest.raises(ValueError, match="`batch_size` must be in 1..18, the examples; got 64"):
        epoch_batches(train.x, train.y, 64, seed=0)
