"""What released versions wrote is read, or refused with what to do. Made by `write_version.py`."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load

from nasgen.arrays import flatten
from nasgen.pipeline.cell_generator import write_cells
from nasgen.pipeline.config import UserError
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import close_workdir
from nasgen.pretrained.bundle import load_cells
from nasgen.search.loop import search
from nasgen.search.methods import METHODS
from nasgen.spaces import SPACES
from nasgen.training import checkpoint
from tests.faults import write_version
from tests.search import toy

VERSIONS = sorted((Path(__file__).parent / "versions").iterdir())


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def version(request, tmp_path):
    """A copy of what a version wrote."""
    shutil.copytree(request.param, tmp_path / "version")
    return tmp_path / "version"


def test_a_workdir_goes_on(version, capsys):
    workdir = write_version.open_run(version / "workdir")
    assert workdir.resumed
    run_stages(workdir, write_version.stages(workdir))
    assert "numbers: done before" in capsys.readouterr().err
    problem, asked = toy.problem()
    state = write_version.searched(workdir, problem)
    assert len(asked) == write_version.EVALUATIONS - write_version.FIRST
    straight = search(jax.random.key(0), METHODS["evolution"], problem, state.evaluations)
    assert state.architectures == straight.architectures
    close_workdir(workdir)


def test_a_training_goes_on(version):
    fitted = write_version.trained(version / "training", write_version.STEPS + 4)
    straight = write_version.trained(version / "anew", write_version.STEPS + 4)
    assert fitted.history[0]["step"] == straight.history[0]["step"] == 4
    assert fitted.best.step == straight.best.step
    for part in ("params", "average", "opt_state"):
        one, two = (flatten(getattr(found.state, part)) for found in (fitted, straight))
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-5)


def test_weights_are_read(version):
    bundle = load_cells(str(version / "weights"))
    assert (bundle.space, bundle.vae_config.latent_dim) == ("nb201", 2)
    kept = load((version / "weights" / "cells.safetensors").read_bytes())
    for part in ("vae", "flow"):
        arrays = flatten(getattr(bundle, part), part)
        assert arrays.keys() == {name for name in kept if name.startswith(f"{part}/")}
        assert all((arrays[name] == kept[name]).all() for name in arrays)


@pytest.mark.slow
def test_weights_write_cells(version):
    bundle = load_cells(str(version / "weights"))
    written = write_cells(bundle, jax.random.key(0), np.zeros((8, 4), np.float32))
    assert SPACES["nb201"].is_valid(written).all()


def test_a_training_of_other_weights_is_refused_with_what_to_do(version):
    folder = version / "training" / "checkpoints"
    workdir = write_version.open_run(version / "workdir")

    def train():
        checkpoint.restore(folder, {"other": np.zeros(3)})

    with pytest.raises(UserError, match="stage train cannot .* Another version .* new folder"):
        run_stages(workdir, [Stage("train", (), train)])
    close_workdir(workdir)


def test_a_workdir_of_a_config_with_other_keys_is_refused_with_what_to_do(version):
    path = version / "workdir" / "config.json"
    path.write_text(json.dumps({**write_version.CONFIG, "gone": 1}))
    with pytest.raises(UserError, match="gone: 1 -> absent.*name a new workdir"):
        write_version.open_run(version / "workdir")
