"""One training loop for every model: graph VAE, flow, transformer, networks for tasks.

A step draws its batch from `batch_fn(step)` and its randomness from `fold_in(key, step)`, so a run
that was stopped and resumed equals the straight run bit for bit. A signal (see `interruption`)
leaves a checkpoint of the last whole step. In a `workdir` it keeps

    checkpoints/step-<n>   the last two states
    checkpoints/best-<n>   the state with the best `best_metric`
    metrics.jsonl          rows {"step", "kind": "train" | "eval", metrics..., "seconds"}
    tensorboard/           the same for TensorBoard
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from nasgen import interruption, processes
from nasgen.training import checkpoint, metrics, sharding
from nasgen.training.event_log import event_log
from nasgen.training.progress import announce, duration, progress
from nasgen.training.state import LossFn, PrepareFn, TrainState, train_step

Row = dict[str, Any]
log = logging.getLogger(__name__)


_AGREE_EVERY = 10  # steps, where they overlap, after which processes ask each other who leaves
_REMEDY = "a lower learning rate, a longer warm-up or gradient clipping may help"


class Diverged(RuntimeError):
    """The loss, or a weight, stopped being a finite number."""


class Best(NamedTuple):
    """The state of the best evaluation so far; `state` is on the host, None where none was kept.

    reached: the first step with this value, where `step` is the last.
    """

    step: int
    value: float | None
    state: TrainState | None
    reached: int = 0


class Start(NamedTuple):
    """Where a run goes on from: the last whole checkpoint, or the state that was given.

    pending: metrics of the steps since the last row. evaluated: whether all of the state's step is
    done, or its evaluation is still to come.
    """

    state: TrainState
    best: Best
    seconds: float
    rows: list[Row]
    pending: list[Row]
    evaluated: bool


class Fitted(NamedTuple):
    """A finished run.

    history: every row of metrics. seconds: spent in the loop, by this and by earlier parts of the
    run, evaluations included. compile_seconds: compiling the step, in this part; not in `seconds`.
    """

    state: TrainState
    best: Best
    history: list[Row]
    seconds: float
    compile_seconds: float


def fit(
    loss_fn: LossFn,
    state: TrainState,
    batch_fn: Callable[[int], PyTree],
    tx: optax.GradientTransformation,
    *,
    num_steps: int,
    workdir: Path | str | None = None,
    log_every: int = 50,
    checkpoint_every: int | None = None,
    eval_fn: Callable[[TrainState], dict[str, Any]] | None = None,
    eval_every: int | None = None,
    best_metric: str | None = None,
    higher_is_better: bool = True,
    patience: int = 0,
    average_decay: float = 0.999,
    prepare_fn: PrepareFn | None = None,
    micro_batches: int = 1,
    mesh: Mesh | None = None,
    on_metrics: Callable[[Row], None] | None = None,
    label: str | None = "training",
) -> Fitted:
    """Trains from `state` to `num_steps` steps, or from the last checkpoint in `workdir` on.

    loss_fn(params, model_state, batch, key) -> (loss, (model_state, metrics)).
    batch_fn: a pure function of the step (counted from 0); every batch has the same shapes.
    eval_fn: metrics of a state, called each `eval_every` steps and after the last; the state with
        the best `best_metric` (ties: the later) is kept as `best`.
    higher_is_better: whether the highest `best_metric` is the best, or the lowest.
    patience: evaluations in a row without a better `best_metric` that end the run early; 0: none.
    average_decay: of the moving average of the weights, where `state` keeps one.
    prepare_fn, micro_batches: as in `state.train_step`.
    mesh: data-parallel training over it; batches are then global and divide by its devices.
    on_metrics: called with every new row. label: None trains silently.

    Training rows are means over the steps since the row before. The step compiles once. The arrays
    of `state` stay usable. Raises Diverged, naming the step, where the loss is not finite or a step
    to be kept has weights that are not; checkpoint.Unusable where there are checkpoints, but none
    to go on from.
    """
    folder = None if workdir is None else Path(workdir)
    state, best, seconds, history, pending, evaluated = _resume(folder, state)
    start = int(state.step)
    if start > num_steps:
        raise ValueError(f"`num_steps` must be at least {start}, already done; got {num_steps}.")
    if evaluated and (start == num_steps or _stale(best, start, patience, eval_every)):
        return Fitted(state, best, history, seconds, 0.0)
    place = (lambda batch: batch) if mesh is None else (lambda b: sharding.shard_batch(b, mesh))
    state = jax.tree.map(jnp.copy, state)  # the step donates its state
    state = state if mesh is None else sharding.replicate(state, mesh)
    step = train_step(
        loss_fn,
        tx,
        average_decay=average_decay,
        prepare_fn=prepare_fn,
        micro_batches=micro_batches,
    )
    compiled, compile_seconds = _compile(step, state, place(batch_fn(start)), mesh, label)
    began = time.perf_counter() - seconds

    def record(row: Row) -> None:
        history.append(row)
        if folder is not None and processes.is_first():
            metrics.append(folder / "metrics.jsonl", row)
        note(row)
        if on_metrics is not None:
            on_metrics(row)

    def keep(*, evaluated: bool = True) -> None:
        if folder is not None:
            rest = {"pending": _plain(pending), "evaluated": evaluated}
            spent = time.perf_counter() - began
            _save(folder / "checkpoints", state, best, {"seconds": spent, **rest})

    text, kept = "", start
    events = folder if processes.is_first() else None
    with (
        progress(num_steps, start=start, label=label) as report,
        event_log(events, start=start) as note,
        interruption.held(),
    ):
        for done in range(start + evaluated, num_steps + 1):
            if done > start:
                agree = _collectives_on_cpu(mesh) or done % _AGREE_EVERY == 0
                if (leave := interruption.asked(agree=agree)) is not None:
                    if kept < done - 1:
                        _check_losses(_plain(pending), done - 1)
                        _check_finite(state, done - 1)
                        keep()
                    raise leave
                state, values = compiled(state, place(batch_fn(done - 1)))
                pending.append(values)
                if _collectives_on_cpu(mesh):
                    jax.block_until_ready(values)
            last = done == num_steps
            saves = folder is not None and (last or _due(done, checkpoint_every))
            evaluates = eval_fn is not None and (last or _due(done, eval_every))
            if pending and (saves or evaluates or last or _due(done, log_every)):
                means = _means(pending, done)
                pending, text = [], f"loss {means['loss']:.4g}"
                elapsed = round(time.perf_counter() - began, 3)
                record({"step": done, "kind": "train", **means, "seconds": elapsed})
            if saves or last:
                _check_finite(state, done)
            if evaluates:
                try:
                    with _interruptible():
                        scores = {name: float(value) for name, value in eval_fn(state).items()}
                except interruption.Interrupted:
                    if done > start:
                        _check_finite(state, done)
                        keep(evaluated=False)
                    raise
                elapsed = round(time.perf_counter() - began, 3)
                record({"step": done, "kind": "eval", **scores, "seconds": elapsed})
                best = _better(best, scores, best_metric, higher_is_better, state, done)
            stops = evaluates and _stale(best, done, patience, eval_every)
            if saves or stops:
                keep()
                kept = done
            report(done, text)
            if stops and not last:
                announce(
                    label, f"stopped at step {done}; {best_metric} is best since {best.reached}"
                )
                break
    return Fitted(state, best, history, time.perf_counter() - began, compile_seconds)


def _resume(folder: Path | None, state: TrainState) -> Start:
    start = Start(state, Best(0, None, None), 0.0, [], [], evaluated=True)
    if folder is None:
        return start
    if processes.is_first():
        folder.mkdir(parents=True, exist_ok=True)
    found = checkpoint.restore(folder / "checkpoints", state)
    if found is not None:
        meta, best = found.meta, _best_of(found, folder / "checkpoints")
        # Of what an earlier version wrote nothing is pending.
        pending, evaluated = meta.get("pending", []), meta.get("evaluated", True)
        if best is not None:
            start = Start(found.tree, best, meta["seconds"], [], pending, evaluated)
        elif processes.is_first():
            shutil.rmtree(folder / "checkpoints")
    path, step = folder / "metrics.jsonl", int(start.state.step)
    return start._replace(rows=processes.from_first(lambda: metrics.drop_after(path, step)))


def _best_of(found: checkpoint.Checkpoint, folder: Path) -> Best | None:
    """The best state that a checkpoint speaks of; None where it is lost, so that no other one may
    pass for it: the run starts anew, and comes to the same end."""
    step, value = found.meta["best_step"], found.meta["best_value"]
    reached = found.meta.get("best_reached", step)
    if value is None:
        return Best(step, value, None, reached)
    try:
        kept = checkpoint.restore(folder, found.tree, name="best")
    except checkpoint.Unusable as error:
        kept = None
        log.warning("%s", error)
    if kept is not None and kept.step == step:
        return Best(step, value, kept.tree, reached)
    if kept is not None and kept.step > found.step:  # a better one, which will come again
        return Best(0, None, None, reached)
    log.warning("The best state, of step %d, is lost; the training starts anew.", step)
    return None


def _save(folder: Path, state: TrainState, best: Best, meta: dict[str, Any]) -> None:
    """The best state first: a state's checkpoint promises that its best one is there too."""
    kept = processes.from_first(lambda: checkpoint.steps(folder, name="best"))
    if best.state is not None and best.step not in kept:
        checkpoint.save(folder, best.state, step=best.step, name="best", keep=1)
    about = {"best_step": best.step, "best_value": best.value, "best_reached": best.reached}
    checkpoint.save(folder, state, step=int(state.step), meta={**meta, **about})


def _interruptible() -> AbstractContextManager:
    """An evaluation may take long, and can be done again; but all processes take part in it."""
    return interruption.released() if processes.count() == 1 else nullcontext()


def _compile(
    step: Callable, state: TrainState, batch: PyTree, mesh: Mesh | None, label: str | None
) -> tuple[Callable[[TrainState, PyTree], tuple[TrainState, dict[str, Array]]], float]:
    options = {}
    if mesh is not None:
        everywhere = sharding.replicated(mesh)
        options["in_shardings"] = (everywhere, sharding.split(mesh))
        options["out_shardings"] = everywhere
    announce(label, "compiling the step")
    began = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0, **options).lower(state, batch).compile()
    seconds = time.perf_counter() - began
    announce(label, f"compiled in {duration(seconds)}")
    return compiled, seconds


def _collectives_on_cpu(mesh: Mesh | None) -> bool:
    """Whether steps must not overlap: on CPU two in flight can wait for each other's devices."""
    return mesh is not None and mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def _due(done: int, every: int | None) -> bool:
    return every is not None and done % every == 0


def _means(pending: list[Mapping[str, Any]], done: int) -> dict[str, float]:
    """Means over the steps not yet looked at, of which `done` is the last."""
    rows = _plain(pending)
    _check_losses(rows, done)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _check_losses(rows: list[Row], done: int) -> None:
    for step, row in enumerate(rows, done - len(rows) + 1):
        if not np.isfinite(row["loss"]):
            raise Diverged(f"The loss is {row['loss']} in step {step}; {_REMEDY}.")


def _plain(pending: list[Mapping[str, Any]]) -> list[Row]:
    return [{name: float(value) for name, value in row.items()} for row in jax.device_get(pending)]


def _check_finite(state: TrainState, done: int) -> None:
    """Raises Diverged before weights that are no numbers are kept: the loss is of those before."""
    finite = _all_finite((state.params, state.model_state, state.average))
    if not finite:
        raise Diverged(f"The weights are not finite after step {done}; {_REMEDY}.")


@jax.jit
def _all_finite(tree: PyTree) -> Array:
    floats = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.isfinite(one).all() for one in floats]))


def _better(
    best: Best,
    scores: dict[str, float],
    name: str | None,
    higher: bool,
    state: TrainState,
    done: int,
) -> Best:
    if name is None:
        return best
    if name not in scores:
        raise ValueError(f"`best_metric` must be one of {sorted(scores)}; got {name!r}.")
    value = scores[name]
    if math.isnan(value):
        return best
    if best.value is not None and (value < best.value if higher else value > best.value):
        return best
    reached = best.reached if value == best.value else done
    return Best(done, value, jax.tree.map(_to_host, state), reached)


def _stale(best: Best, done: int, patience: int, every: int | None) -> bool:
    """Whether the last `patience` evaluations, of which `done` is the newest, were no better."""
    return bool(patience and every) and done // every - best.reached // every >= patience


def _to_host(leaf: Array) -> Any:
    """NumPy for arrays; a copy of a typed key, which NumPy does not know."""
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jnp.copy(leaf) if is_key else np.array(leaf)
