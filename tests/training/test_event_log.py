"""Event files hold what metrics.jsonl holds, and nothing that a resumed run has superseded."""

import struct

import jax
import jax.numpy as jnp
import optax
import pytest
from tensorboardX.proto.event_pb2 import Event

from nasgen.training import metrics
from nasgen.training.event_log import FOLDER, event_log
from nasgen.training.fit import fit
from nasgen.training.state import init_state


def read(folder) -> dict:
    """Values by tag and step, as TensorBoard reads them: what follows a restart replaces the rest
    from its step on. A record is a length, its checksum, an event, its checksum."""
    found: dict = {}
    for path in sorted((folder / FOLDER).iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.session_log.status == event.session_log.START:
                found = {key: one for key, one in found.items() if key[1] < event.step}
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_rows_come_back_and_a_restart_replaces_what_came_after(tmp_path):
    with event_log(tmp_path, start=0) as log:
        log({"step": 1, "kind": "train", "loss": 2.0, "seconds": 0.5})
        log({"step": 2, "kind": "eval", "accuracy": 0.25, "loss": None, "text": "no"})
        log({"step": 3, "kind": "train", "loss": float("nan"), "seconds": 1})
    assert read(tmp_path) == {
        ("train/loss", 1): 2.0,
        ("train/seconds", 1): 0.5,
        ("eval/accuracy", 2): 0.25,
        ("train/seconds", 3): 1.0,
    }
    with event_log(tmp_path, start=1) as log:
        log({"step": 2, "kind": "train", "loss": 1.0})
    assert read(tmp_path) == {
        ("train/loss", 1): 2.0, ("train/seconds", 1): 0.5, ("train/loss", 2): 1.0
    }  # fmt: skip


def test_no_folder_no_files(tmp_path):
    with event_log(None, start=0) as log:
        log({"step": 1, "kind": "train", "loss": 2.0})
    assert not list(tmp_path.iterdir())


def test_a_fit_writes_both(tmp_path):
    def loss_fn(params, model_state, batch, key):
        loss = jnp.sum((params["w"] - batch) ** 2)
        return loss, (model_state, {})

    tx = optax.sgd(0.1)
    state = init_state({"w": jnp.zeros(2)}, tx, jax.random.key(0))
    options = dict(num_steps=4, log_every=2, workdir=tmp_path, label=None)
    fit(loss_fn, state, lambda step: jnp.ones(2), tx, **options)
    rows = metrics.read(tmp_path / "metrics.jsonl")
    wanted = {("train/loss", row["step"]): row["loss"] for row in rows}
    found = {key: value for key, value in read(tmp_path).items() if key[0] == "train/loss"}
    assert found == pytest.approx(wanted) and len(found) == 2
