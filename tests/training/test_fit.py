"""The loop: it learns, resumes exactly, compiles once, and stops where the loss is not finite."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.training import checkpoint, metrics
from nasgen.training.fit import Diverged, fit
from nasgen.training.state import averaged, init_state

TRUE_WEIGHTS = np.array([1.0, -2.0, 0.5], np.float32)
TX = optax.adam(0.05)
STEPS = 40


def batch_fn(step: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32)
    return x, x @ TRUE_WEIGHTS


def loss_fn(params, model_state, batch, key):
    x, y = batch
    noise = 0.01 * jax.random.normal(key, y.shape)
    loss = jnp.mean((x @ params["w"] - y + noise) ** 2)
    return loss, ({"count": model_state["count"] + 1}, {"noise": noise[0]})


def initial(average: bool = False):
    params = {"w": jnp.zeros(3)}
    state = {"count": jnp.zeros((), jnp.int32)}
    return init_state(params, TX, jax.random.key(7), model_state=state, average=average)


def distance(state) -> dict[str, float]:
    params, _ = averaged(state)
    return {"closeness": -float(np.abs(np.asarray(params["w"]) - TRUE_WEIGHTS).sum())}


def run(state, *, batches=batch_fn, loss=loss_fn, num_steps=STEPS, **options):
    return fit(loss, state, batches, TX, num_steps=num_steps, label=None, **options)


def plain(tree):
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [
        np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def assert_identical(left, right):
    for a, b in zip(plain(left), plain(right), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_learns_and_reports():
    fitted = run(initial(), num_steps=300, log_every=100)
    assert np.allclose(fitted.state.params["w"], TRUE_WEIGHTS, atol=0.05)
    assert int(fitted.state.step) == int(fitted.state.model_state["count"]) == 300
    losses = [row["loss"] for row in fitted.history]
    assert [row["step"] for row in fitted.history] == [100, 200, 300]
    assert losses[0] > 100 * losses[-1] and fitted.compile_seconds > 0


def test_rows_are_means_over_their_steps():
    each = run(initial(), num_steps=6, log_every=1).history
    means = run(initial(), num_steps=6, log_every=3).history
    assert np.isclose(means[1]["loss"], np.mean([row["loss"] for row in each[3:]]))


def test_steps_draw_different_noise():
    noise = [row["noise"] for row in run(initial(), num_steps=6, log_every=1).history]
    assert len(set(noise)) == 6


def test_step_is_traced_once_and_the_given_state_survives():
    traces = []

    def counted(*arguments):
        traces.append(None)
        return loss_fn(*arguments)

    state = initial(average=True)
    first = run(state, loss=counted, eval_fn=distance, eval_every=5)
    assert len(traces) == 1
    assert_identical(run(state).state.params, first.state.params)


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop_at", [3, 10, 33])
def test_stopped_and_resumed_equals_straight(tmp_path, stop_at):
    options = dict(
        log_every=4, checkpoint_every=10, eval_fn=distance, eval_every=6, best_metric="closeness"
    )

    def stop(row):
        if row["step"] >= stop_at:
            raise Stop

    straight = run(initial(average=True), workdir=tmp_path / "straight", **options)
    with pytest.raises(Stop):
        run(initial(average=True), workdir=tmp_path / "stopped", on_metrics=stop, **options)
    stopped = checkpoint.steps(tmp_path / "stopped" / "checkpoints")
    assert stopped == [step for step in (10, 20, 30) if step < stop_at][-2:]
    resumed = run(initial(average=True), workdir=tmp_path / "stopped", **options)

    assert_identical(resumed.state, straight.state)
    assert_identical(resumed.best.state, straight.best.state)
    assert resumed.best[:2] == straight.best[:2]
    assert without_seconds(resumed.history) == without_seconds(straight.history)
    assert metrics.read(tmp_path / "stopped" / "metrics.jsonl") == resumed.history


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    options = dict(checkpoint_every=10, eval_fn=distance, eval_every=5, best_metric="closeness")
    straight = run(initial(), workdir=tmp_path, **options)
    newest = tmp_path / "checkpoints" / f"step-{STEPS:08d}" / "manifest.json"
    newest.write_bytes(newest.read_bytes().replace(b"4", b"5", 1))
    again = run(initial(), workdir=tmp_path, **options)
    assert again.compile_seconds > 0  # it did train
    assert_identical(again.state, straight.state)
    assert_identical(again.best.state, straight.best.state)
    assert without_seconds(again.history) == without_seconds(straight.history)


@pytest.mark.parametrize("lost", ["flipped", "deleted"])
def test_no_other_state_passes_for_a_best_one_that_is_lost(tmp_path, lost, caplog):
    options = dict(checkpoint_every=10, eval_fn=distance, eval_every=5, best_metric="closeness")
    straight = run(initial(), workdir=tmp_path, **options)
    (best,) = (tmp_path / "checkpoints").glob("best-*")
    manifest = best / "manifest.json"
    if lost == "flipped":
        manifest.write_bytes(manifest.read_bytes().replace(b"4", b"5", 1))
    else:
        shutil.rmtree(best)
    again = run(initial(), workdir=tmp_path, **options)
    assert "starts anew" in caplog.text and (lost == "deleted" or best.name in caplog.text)
    assert again.best[:2] == straight.best[:2]
    assert_identical(again.best.state, straight.best.state)
    assert without_seconds(again.history) == without_seconds(straight.history)
    assert checkpoint.steps(tmp_path / "checkpoints") == [30, 40]


def test_where_every_checkpoint_is_damaged_the_run_is_refused(tmp_path):
    run(initial(), workdir=tmp_path, checkpoint_every=10)
    for manifest in tmp_path.glob("checkpoints/*/manifest.json"):
        manifest.write_text("{")
    with pytest.raises(checkpoint.Unusable, match="step-00000040: manifest.json is unreadable"):
        run(initial(), workdir=tmp_path)


def test_weights_that_are_no_numbers_are_never_kept(tmp_path):
    """The loss is finite where its gradient is not."""

    def root(params, model_state, batch, key):
        late, w = model_state["count"] >= 6, params["w"]
        loss = jax.lax.cond(late, lambda: jnp.sqrt(jnp.sum(0 * w)), lambda: jnp.sum(w**2))
        return loss, ({"count": model_state["count"] + 1}, {})

    with pytest.raises(Diverged, match="weights are not finite after step 7;"):
        run(initial(average=True), loss=root, checkpoint_every=1, workdir=tmp_path)
    found = checkpoint.restore(tmp_path / "checkpoints", initial(average=True))
    assert found.step == 6 and np.isfinite(found.tree.params["w"]).all()


def test_finished_run_is_returned_at_once(tmp_path):
    first = run(initial(), workdir=tmp_path, eval_fn=distance, best_metric="closeness")
    calls = []
    second = run(initial(), workdir=tmp_path, batches=calls.append, best_metric="closeness")
    assert not calls and second.compile_seconds == 0
    assert_identical(second.state, first.state)
    assert_identical(second.best.state, first.best.state)
    assert second.best[:2] == first.best[:2]
    assert second.history == first.history
    with pytest.raises(ValueError, match="`num_steps` must be at least 40"):
        run(initial(), workdir=tmp_path, num_steps=10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_loss_that_is_not_finite_names_its_step(tmp_path, value):
    def poisoned(step):
        x, y = batch_fn(step)
        return x, np.where(step == 12, np.float32(value), y)

    with pytest.raises(Diverged, match="in step 13;"):
        run(initial(), batches=poisoned, log_every=10, checkpoint_every=15, workdir=tmp_path)
    assert checkpoint.steps(tmp_path / "checkpoints") == []  # nothing poisoned was kept
    assert [row["step"] for row in metrics.read(tmp_path / "metrics.jsonl")] == [10]


@pytest.mark.parametrize(("higher", "found"), [(True, (3, 0.9)), (False, (5, 0.2))])
def test_best_is_the_highest_or_the_lowest_and_of_equals_the_later(higher, found):
    scores = iter([0.2, 0.9, 0.9, float("nan"), 0.2, 0.3])
    best = run(
        initial(),
        num_steps=6,
        eval_fn=lambda state: {"score": next(scores)},
        eval_every=1,
        best_metric="score",
        higher_is_better=higher,
    ).best
    assert (best.step, best.value) == found and int(best.state.step) == found[0]


def test_patience_counts_what_is_not_lower():
    scores = iter([0.5, 0.4, 0.6, 0.4, 0.3, 0.9, 0.9])
    fitted = run(
        initial(),
        num_steps=7,
        eval_fn=lambda state: {"score": next(scores)},
        eval_every=1,
        best_metric="score",
        higher_is_better=False,
        patience=3,
    )
    assert fitted.best[:2] == (5, 0.3) and int(fitted.state.step) == 7


@pytest.mark.parametrize(
    ("scores", "stops", "best"),
    [
        ((0.1, 0.5, 0.4, 0.3, 0.9), 8, 4),  # two in a row without a better one
        ((0.1, 0.5, 0.4, 0.6, 0.5, 0.6, 0.7), 12, 12),  # an equal one is no better, but is kept
        ((0.1, 0.2, 0.3, 0.4, 0.5), 10, 10),  # always better: all steps
        ((float("nan"), float("nan"), 0.5), 4, 0),
    ],
)
def test_patience_stops_and_keeps_the_best(tmp_path, scores, stops, best):
    def evaluate(state):
        return {"accuracy": scores[int(state.step) // 2 - 1]}

    options = dict(
        num_steps=2 * len(scores),
        eval_fn=evaluate,
        eval_every=2,
        best_metric="accuracy",
        patience=2,
        checkpoint_every=3,
        workdir=tmp_path,
    )
    fitted = run(initial(), **options)
    assert int(fitted.state.step) == stops and fitted.best.step == best
    assert checkpoint.steps(tmp_path / "checkpoints")[-1] == stops
    calls = []
    again = run(initial(), batches=calls.append, **options)  # a run that has stopped is finished
    assert not calls and again.compile_seconds == 0 and again.best[:2] == fitted.best[:2]
    assert_identical(again.state, fitted.state)


def test_patience_goes_on_from_where_it_stood(tmp_path):
    scores = (0.1, 0.5, 0.4, 0.5, 0.3, 0.2, 0.1, 0.9)

    def evaluate(state):
        return {"accuracy": scores[int(state.step) - 1]}

    def stop(row):
        if row["step"] == 5:
            raise Stop

    options = dict(num_steps=8, eval_fn=evaluate, eval_every=1, best_metric="accuracy", patience=4)
    straight = run(initial(), **options)
    assert int(straight.state.step) == 6 and straight.best[:2] == (4, 0.5)
    kept = dict(workdir=tmp_path, checkpoint_every=1)
    with pytest.raises(Stop):
        run(initial(), on_metrics=stop, **options, **kept)
    resumed = run(initial(), **options, **kept)
    assert_identical(resumed.state, straight.state)
    assert resumed.best[:2] == straight.best[:2]


def test_unknown_best_metric_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"`best_metric` must be one of \['closeness'\]"):
        run(initial(), num_steps=1, eval_fn=distance, best_metric="accuracy")


def test_average_follows_the_weights():
    history = []

    def watch(state):
        history.append((np.asarray(state.params["w"]), np.asarray(averaged(state)[0]["w"])))
        return {}

    run(initial(average=True), num_steps=30, eval_fn=watch, eval_every=1, average_decay=0.5)
    expected = np.zeros(3, np.float32)
    for step, (weights, average) in enumerate(history):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights
        assert np.allclose(average, expected, atol=1e-6)
    assert not np.allclose(weights, average)
