"""Tables of layers' times and what is predicted from them: laws, round trips, one real timing."""

import json

import jax
import numpy as np
import pytest

from nasgen.networks import latency, latency_model
from nasgen.networks.latency import Table
from nasgen.networks.plan import Layer
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.latency import choose_signatures, random_plans
from nasgen.spaces import SPACES
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage, Task
from tests.networks.toy_latency import PREDICTOR

OPS = SPACES["open"].ops
TASK = Task("toy", (16, 16, 3), 10)
PLANS = random_plans(jax.random.key(0), 24, sizes=(8, 16), max_channels=64)
SIGNATURES = choose_signatures(jax.random.key(1), PLANS, 40)


def _plan(cell, *stages, final_width=16, task=TASK):
    macro = MacroArchitecture(tuple(Stage(0, *stage) for stage in stages), final_width)
    return make_plan(Architecture(macro, (cell,) * len(stages)), OPS, task)


def _cell(op: int) -> Cell:
    return Cell((op,), ((0, 1), (0, 2), (1, 2)))


def layer_ms(layer, size):
    """What the toy predictor says of a layer."""
    weights = PREDICTOR.layers[latency_model.group(layer)]
    return float(np.dot(weights, latency_model._layer_terms(layer, size)))


TABLE = Table("toy", 1, 0.001, {one: layer_ms(*one) for one in SIGNATURES}, 1.0)


def test_a_law_of_the_model_is_found_again():
    """Times that follow the model's own law: layers and networks are then predicted exactly."""
    times = latency_model.predict(PREDICTOR, PLANS)
    fitted = latency_model.fit(TABLE, PLANS, times)
    np.testing.assert_allclose(latency_model.predict(fitted, PLANS), times, rtol=1e-5)
    predicted, measured = latency_model.held_out(TABLE)
    known = np.isfinite(predicted)
    assert known.mean() > 0.95
    np.testing.assert_allclose(predicted[known], measured[known], rtol=0.1)


def test_networks_that_are_off_by_a_factor_are_scaled():
    times = 1.7 * latency_model.predict(PREDICTOR, PLANS)
    fitted = latency_model.fit(TABLE, PLANS, times)
    np.testing.assert_allclose(latency_model.predict(fitted, PLANS), times, rtol=1e-5)


@pytest.mark.parametrize("op", range(len(OPS)))
def test_more_of_anything_is_never_faster(op):
    rng = np.random.default_rng(op)
    noisy = {one: ms * rng.lognormal(0, 0.5) for one, ms in TABLE.layers.items()}
    times = latency_model.predict(PREDICTOR, PLANS) * rng.lognormal(0, 0.5, len(PLANS))
    fitted = latency_model.fit(TABLE._replace(layers=noisy), PLANS, times)
    cell, small = _cell(op), (16, 1, 1)
    least = _plan(cell, small)
    more = [
        _plan(cell, (24, 1, 1)),
        _plan(cell, (16, 1, 2)),
        _plan(cell, small, small),
        _plan(cell, small, final_width=64),
        _plan(cell, small, task=TASK._replace(input_shape=(20, 16, 3))),
        _plan(Cell((op, op), ((0, 1), (0, 3), (1, 2), (2, 3))), small),
    ]
    first, *others = latency_model.predict(fitted, [least, *more])
    assert first > 0
    assert all(other >= first for other in others)


def test_a_layer_without_a_fit_is_refused():
    few = PREDICTOR._replace(layers={"linear_point": PREDICTOR.layers["linear_point"]})
    with pytest.raises(ValueError, match="`plans` must hold layers like.*got 'conv_window'"):
        latency_model.predict(few, PLANS)
    assert latency_model.predict(few, []).shape == (0,)


def test_json_gives_table_and_predictor_back():
    def there_and_back(values):
        return json.loads(json.dumps(values))

    assert latency.table_from_json(there_and_back(latency.table_to_json(TABLE))) == TABLE
    written = there_and_back(latency_model.predictor_to_json(PREDICTOR))
    assert latency_model.predictor_from_json(written) == PREDICTOR
    with pytest.raises(ValueError, match="a table of latencies"):
        latency.table_from_json({"layers": [{}]})
    with pytest.raises(ValueError, match="a latency predictor"):
        latency_model.predictor_from_json({"layers": []})


def test_steps_that_nobody_reads_take_no_time():
    # Both ops hang on the input alone, so they take it raw; the projection has no reader.
    cell = Cell((3, 4), ((0, 1), (0, 2), (1, 3), (2, 3)))
    plan = _plan(cell, (16, 1, 1), (24, 2, 1))
    names = [step.name for step in latency.live_steps(plan)]
    assert "stage1_cell0_proj" in {step.name for step in plan.steps} - set(names)
    assert [step.name for step in plan.steps if step.name in names] == names
    assert len(names) == len(plan.steps) - 1


def test_layers_and_networks_are_timed():
    layers = [
        (Layer("conv", 8, 8, relu=True, norm="affine"), (4, 4)),
        (Layer("linear", 8, 5, bias=True), (2, 2)),
    ]
    done = []
    table = latency.measure_table([*layers, layers[0]], batch=2, repeats=3, on_measured=done.append)
    assert list(table.layers) == layers and done == [1, 2]
    assert all(0 < ms < 1e3 for ms in table.layers.values())
    assert (table.batch, table.device) == (2, latency.device_name())
    assert 0 < latency.measure_network(_plan(_cell(3), (8, 2, 1)), repeats=3, seconds=0.0) < 1e3


def test_the_median_does_not_mind_one_slow_call(monkeypatch):
    clock = iter(np.cumsum([0, 0, 1, 0, 1, 0, 50, 0, 1, 0, 1, 0] + [1] * 10) / 1e3)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: float(next(clock)))
    assert latency.median_ms(lambda: None, repeats=5, seconds=0.0, rounds=1) == pytest.approx(1.0)
