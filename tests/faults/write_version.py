"""Writes what a version leaves on disk, small: a workdir of a search that was stopped, a training's
checkpoints, weights. Every released version's stay in `versions/`, which `test_versions.py` reads.

    python tests/faults/write_version.py tests/faults/versions/0.1.0
"""

import sys
from contextlib import suppress
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nasgen
from nasgen.models import flow, graph_vae
from nasgen.models.flow_field import FlowConfig
from nasgen.models.graph_vae import VaeConfig
from nasgen.models.mixture import Mixture
from nasgen.pipeline.kept_search import kept_search
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import (
    ENVIRONMENT,
    Workdir,
    close_workdir,
    open_workdir,
    save_arrays,
    write_json,
)
from nasgen.pretrained.bundle import CellBundle, Scaling, save_cells
from nasgen.search.methods import METHODS
from nasgen.spaces import SPACES
from nasgen.training.fit import Fitted, fit
from nasgen.training.state import init_state
from tests.search import toy

CONFIG, FIRST, EVALUATIONS, STEPS = {"seed": 0}, 6, 9, 8
NUMBERS = np.arange(5.0)


def open_run(folder: Path) -> Workdir:
    """The workdir of the run, new or not."""
    return open_workdir(folder, ConfigDict(CONFIG))


def stages(workdir: Workdir) -> list[Stage]:
    """A stage that writes an array."""
    write = lambda: save_arrays(workdir.path / "numbers.npz", numbers=NUMBERS)  # noqa: E731
    return [Stage("numbers", ("numbers.npz",), write)]


class Stopped(Exception):
    """The end of the search's first part."""


def searched(workdir: Workdir, problem, *, stop: int = EVALUATIONS):
    """A kept search by evolution; raises Stopped after so many scores."""

    def on_state(state):
        if stop <= state.evaluations < EVALUATIONS:
            raise Stopped

    arguments = jax.random.key(0), METHODS["evolution"], problem, EVALUATIONS
    options = dict(seconds_between=0, on_state=on_state, space=SPACES["open"])
    return kept_search(workdir, "evolution", *arguments, **options)


def trained(folder: Path, steps: int) -> Fitted:
    """A line fitted, as far as that."""

    def batch_fn(step):
        x = np.linspace(-1, 1, 4, dtype=np.float32) + step
        return x, 3 * x - 1

    def loss_fn(params, model_state, batch, key):
        x, y = batch
        return jnp.mean((params["a"] * x + params["b"] - y) ** 2), (model_state, {})

    tx = optax.adam(0.1)
    params = {"a": jnp.zeros(()), "b": jnp.zeros(())}
    state = init_state(params, tx, jax.random.key(1), average=True)
    options = dict(checkpoint_every=4, workdir=folder, label=None)
    options |= dict(eval_fn=lambda s: {"a": float(s.params["a"])}, best_metric="a", eval_every=4)
    return fit(loss_fn, state, batch_fn, tx, num_steps=steps, **options)


def cells() -> CellBundle:
    """A generator of cells that has learned nothing."""
    space, key = SPACES["nb201"], jax.random.key(0)
    sizes = dict(latent_dim=2, width=4, depth=1, readout_width=4, decoder_width=4, step_width=4)
    vae = VaeConfig(space.rules, condition_dim=4, **sizes)
    field = FlowConfig(2, 4, width=4, depth=1, context_width=4, time_features=1)
    one, two = np.ones(4, np.float32), np.ones(2, np.float32)
    mixture = Mixture(one[:1], np.zeros((1, 4), np.float32), np.eye(4, dtype=np.float32)[None])
    return CellBundle(
        space="nb201",
        names=("log_params", "log_macs", "log_snip_snr", "nwot"),
        skeleton={},
        vae=graph_vae.init(key, vae),
        vae_config=vae,
        flow=flow.init(key, field),
        flow_config=field,
        conditions=Scaling(0 * one, one),
        latents=Scaling(0 * two, two),
        mixture=mixture,
        tolerances=one,
    )


def main(folder: Path) -> None:
    """Writes all of it."""
    workdir = open_run(folder / "workdir")
    run_stages(workdir, stages(workdir))
    with suppress(Stopped):
        searched(workdir, toy.problem()[0], stop=FIRST)
    write_json(workdir.path / ENVIRONMENT, {"packages": {"nasgen": nasgen.__version__}})
    close_workdir(workdir)
    trained(folder / "training", STEPS)
    (folder / "weights").mkdir()
    save_cells(folder / "weights" / "cells", cells(), {"what": "untrained"})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
