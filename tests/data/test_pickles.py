"""Pickles: what NumPy of any age and protocol wrote comes back; whatever would run is refused."""

import io
import pickle
import pickletools

import numpy as np
import pytest

from nasgen.data.pickles import read_npy, read_pickle
from tests.data.bomb import Bomb

HELD = {
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "texts": np.array(["N", "~"]),
    "truths": np.array([True, False]),
    "big": np.arange(3, dtype=">i2"),
    "plain": [1, 2.5, "a", b"b", None, True, (1, [2])],
    "number": np.float32(1.5),
}


def read(content: bytes):
    return read_pickle(io.BytesIO(content), "data.pkl")


def assert_same(found, wanted):
    if isinstance(wanted, np.ndarray):
        assert isinstance(found, np.ndarray) and found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted and not isinstance(found, np.generic)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_was_pickled_comes_back(protocol):
    found = read(pickle.dumps(HELD, protocol))
    assert list(found) == list(HELD)
    for name, wanted in HELD.items():
        assert_same(found[name], wanted)


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_both_names_of_numpy_are_known(module):
    content = pickle.dumps(HELD["bytes"], 0)
    assert b"numpy._core.multiarray" in content
    assert_same(read(content.replace(b"numpy._core", module.encode())), HELD["bytes"])


def test_python_2_wrote_arrays_as_texts():
    """As the official CIFAR-100 is: protocol 2, every text a byte string."""
    content = (
        b"\x80\x02}U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n"
        b"q\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x03\x85cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01"
        b"\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x00\x80\xfftbs."
    )
    assert_same(read(content)["data"], np.array([0, 128, 255], np.uint8))


def test_an_empty_array():
    assert_same(read(pickle.dumps(np.zeros((0, 3), np.float32))), np.zeros((0, 3), np.float32))


def test_arrays_of_objects_are_lists(tmp_path):
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(3), np.arange(5)]
    found = read(pickle.dumps({"data": ragged}))["data"]
    assert isinstance(found, list) and [len(one) for one in found] == [3, 5]
    np.save(tmp_path / "dict.npy", {"data": np.arange(4)}, allow_pickle=True)
    (held,) = read_npy(tmp_path / "dict.npy")
    assert_same(held["data"], np.arange(4))
    np.save(tmp_path / "plain.npy", HELD["bytes"])
    assert_same(read_npy(tmp_path / "plain.npy"), HELD["bytes"])


def with_flags(content: bytes) -> bytes:
    """Elements said to be plain numbers that NumPy would take for pointers."""
    state = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R" + state + b"\x89" + content + b"tb."
    )


HOSTILE = {
    "a call": lambda: pickle.dumps(Bomb()),
    "a call in an array": lambda: pickle.dumps(np.array([Bomb()], object)),
    "a call of an old protocol": lambda: pickle.dumps([Bomb()], 0),
    "a builtin": lambda: b"cbuiltins\neval\n(S'1+1'\ntR.",
    "an attribute of what is known": lambda: b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tofile\x93.",
    "a subclass": lambda: pickle.dumps(np.ma.masked_array([1, 2])),
    "a compound type": lambda: pickle.dumps(np.zeros(2, [("a", "u1"), ("b", "O")])),
    "dates": lambda: pickle.dumps(np.zeros(2, "M8[s]")),
    "pointers": lambda: with_flags(b"U\x08AAAAAAAA"),
    "fewer bytes than promised": lambda: with_flags(b"U\x02AA").replace(b"O8", b"u1"),
    "a function itself": lambda: b"cnumpy\ndtype\n.",
    "a function changed": lambda: b"cnumpy\ndtype\nN(S'make'\ncnumpy\nndarray\nd\x86b.",
    "an array of nothing": lambda: (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR."
    ),
    "itself": lambda: b"(lp0\ng0\na.",
    "a persistent name": lambda: b"Psomewhere\n.",
    "a set": lambda: pickle.dumps({1, 2}),
    "no pickle": lambda: b"not a pickle",
    "half of one": lambda: pickle.dumps(HELD)[:200],
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_executed(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NASGEN_BOMB", str(tmp_path / "bomb"))
    content = HOSTILE[name]()
    with pytest.raises(ValueError, match="`path` data.pkl must hold arrays and plain") as caught:
        read(content)
    assert "\n" not in str(caught.value) and not (tmp_path / "bomb").exists()
    np.save(tmp_path / "plain.npy", np.array([None], object), allow_pickle=True)
    file = tmp_path / "plain.npy"
    head = file.read_bytes()[: file.read_bytes().index(b"\n") + 1]
    file.write_bytes(head + content)
    with pytest.raises(ValueError, match="plain.npy must hold"):
        read_npy(file)
    assert not (tmp_path / "bomb").exists()


def test_the_bomb_would_go_off(tmp_path, monkeypatch):
    monkeypatch.setenv("NASGEN_BOMB", str(tmp_path / "bomb"))
    pickle.loads(HOSTILE["a call"]())
    assert (tmp_path / "bomb").is_dir()
    opcodes = [op.name for op, _, _ in pickletools.genops(HOSTILE["a call"]())]
    assert "REDUCE" in opcodes


def test_a_header_that_promises_too_much(tmp_path):
    file = tmp_path / "x.npy"
    with file.open("wb") as opened:
        about = {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_2_0(opened, about)
    with pytest.raises(ValueError, match="x.npy must be an .npy file: .* the file has"):
        read_npy(file)
