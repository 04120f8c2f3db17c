"""Checkpoints come back bit for bit, and no altered one ever does."""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.training import checkpoint


class State(NamedTuple):
    step: jax.Array
    params: dict
    opt_state: object
    key: jax.Array
    nothing: tuple
    hollow: np.ndarray


def make_state(seed: int) -> State:
    params = {"dense/0": {"kernel": jax.random.normal(jax.random.key(seed), (3, 4))}, "b.c": None}
    opt_state = optax.adam(1e-3).init(params)
    hollow = np.zeros((0, 3), np.float32)
    return State(jnp.int32(seed), params, opt_state, jax.random.key(seed), (), hollow)


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert a.dtype == b.dtype and np.array_equal(a, b)


def files(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_restores_what_was_saved(tmp_path):
    checkpoint.save(tmp_path, make_state(3), step=3, meta={"best": None, "seconds": 1.5})
    found = checkpoint.restore(tmp_path, make_state(0))
    assert (found.step, found.meta) == (3, {"best": None, "seconds": 1.5})
    assert_same(found.tree, make_state(3))


def test_nothing_saved_is_none(tmp_path):
    assert checkpoint.restore(tmp_path / "absent", make_state(0)) is None


def test_keeps_the_last_ones_of_each_name(tmp_path):
    for step in (1, 2, 10, 100):
        checkpoint.save(tmp_path, make_state(step), step=step, keep=2)
    checkpoint.save(tmp_path, make_state(2), step=2, name="best", keep=1)
    assert checkpoint.steps(tmp_path) == [10, 100]
    assert checkpoint.steps(tmp_path, name="best") == [2]
    assert_same(checkpoint.restore(tmp_path, make_state(0), name="best").tree, make_state(2))


def test_every_flipped_byte_is_seen(tmp_path):
    path = checkpoint.save(tmp_path, make_state(1), step=1)
    rng = np.random.default_rng(0)
    for file in files(path):
        whole = file.read_bytes()
        for position in (0, len(whole) - 1, *rng.integers(0, len(whole), 23)) if whole else ():
            altered = bytearray(whole)
            altered[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(bytes(altered))
            assert checkpoint.damage(path) is not None, (file, position)
        file.write_bytes(whole[: len(whole) // 2] if whole else b"x")
        assert checkpoint.damage(path) is not None, file
        file.write_bytes(whole)
        assert checkpoint.damage(path) is None
        file.unlink()
        assert "missing" in checkpoint.damage(path)
        file.write_bytes(whole)
    (path / "stranger").write_text("x")
    assert checkpoint.damage(path) == "stranger does not belong to it"


def test_damaged_step_is_named_and_the_one_before_used(tmp_path, caplog):
    checkpoint.save(tmp_path, make_state(4), step=4)
    newest = checkpoint.save(tmp_path, make_state(8), step=8)
    victim = max(files(newest), key=lambda file: file.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1])
    found = checkpoint.restore(tmp_path, make_state(0))
    assert found.step == 4
    assert_same(found.tree, make_state(4))
    assert "step 8" in caplog.text and victim.name in caplog.text

    checkpoint.save(tmp_path, make_state(8), step=8)  # the run gets there again
    assert checkpoint.restore(tmp_path, make_state(0)).step == 8


def test_all_damaged_is_an_error(tmp_path):
    for step in (1, 2):
        (checkpoint.save(tmp_path, make_state(step), step=step) / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="step-00000002: manifest.json is unreadable.*00000001"):
        checkpoint.restore(tmp_path, make_state(0))


def test_copied_folder_under_another_step_is_damaged(tmp_path):
    path = checkpoint.save(tmp_path, make_state(1), step=1)
    path.rename(tmp_path / "step-00000007")
    assert checkpoint.damage(tmp_path / "step-00000007") is not None


def test_interrupted_save_leaves_no_checkpoint(tmp_path, monkeypatch):
    def interrupted(*paths):
        raise KeyboardInterrupt

    checkpoint.save(tmp_path, make_state(1), step=1)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, make_state(2), step=2)
    assert checkpoint.restore(tmp_path, make_state(0)).step == 1
    checkpoint.save(tmp_path, make_state(2), step=2)
    assert sorted(os.listdir(tmp_path)) == ["step-00000001", "step-00000002"]


def test_other_leaves_are_named(tmp_path):
    checkpoint.save(tmp_path, {"kernel": np.zeros((2, 3))}, step=1)
    with pytest.raises(ValueError, match=r"kernel.*\[2, 3\].*\[3, 3\]"):
        checkpoint.restore(tmp_path, {"kernel": np.zeros((3, 3))})
    with pytest.raises(ValueError, match="bias"):
        checkpoint.restore(tmp_path, {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)})
