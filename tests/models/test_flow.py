"""The flow's densities, solvers and masks: properties first, closed forms where there are any.

Compiling dominates here, so the tests share sizes: `CONFIG`, `DRAWS` samples, `GRID` densities.
"""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal

from nasgen.models import flow, flow_field, mixture
from nasgen.pretrained.bundle import load_cells

CONFIG = flow.FlowConfig(latent_dim=2, condition_dim=2, width=64, depth=2, context_width=32)
DRAWS = 1024
AXIS = jnp.linspace(-6.0, 6.0, 65)
GRID = jnp.stack(jnp.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1).reshape(-1, 2)
SCALE = (0.4, 0.3)

log_prob = partial(flow.log_prob, config=CONFIG, num_steps=20)


def draw(params, key, conditions, mask, temperature=1.0, **options):
    """`flow.sample` with the same arguments spelt out everywhere, so programs are shared."""
    return flow.sample(
        params, key, conditions, mask, config=CONFIG, temperature=temperature, **options
    )


@jax.jit
def loss_and_grads(params, key, latents, conditions, mask):
    loss = partial(flow.flow_matching_loss, config=CONFIG)
    return jax.value_and_grad(loss)(params, key, latents, conditions, mask)


@jax.jit
def velocities(params, t, x, conditions, mask):
    field = partial(flow.vector_field, config=CONFIG)
    return jax.vmap(field, in_axes=(None, None, 0, 0, 0))(params, t, x, conditions, mask)


def conditional_data(key, batch):
    """x_0 = c_0 + 0.4 e: Gaussian. x_1 = c_1 / 2 +- 0.8 + 0.3 e: two modes. c ~ N(0, I)."""
    condition_key, noise_key, sign_key = jax.random.split(key, 3)
    conditions = jax.random.normal(condition_key, (batch, 2))
    noise = jax.random.normal(noise_key, (batch, 2))
    sign = jax.random.rademacher(sign_key, (batch,), dtype=jnp.float32)
    first = conditions[:, 0] + SCALE[0] * noise[:, 0]
    second = 0.5 * conditions[:, 1] + 0.8 * sign + SCALE[1] * noise[:, 1]
    return jnp.stack([first, second], axis=1), conditions


def true_log_prob(latents, conditions):
    def normal(x, mean, scale):
        return -0.5 * ((x - mean) / scale) ** 2 - math.log(scale * math.sqrt(2 * math.pi))

    first = normal(latents[:, 0], conditions[:, 0], SCALE[0])
    modes = [normal(latents[:, 1], 0.5 * conditions[:, 1] + m, SCALE[1]) for m in (-0.8, 0.8)]
    return first + jnp.logaddexp(*modes) - math.log(2)


@pytest.fixture(scope="module")
def untrained():
    return flow.init(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def trained(untrained):
    """Flow matching, 800 steps of 256."""
    tx = optax.adam(optax.cosine_decay_schedule(4e-3, 800))
    loss_fn = partial(flow.flow_matching_loss, config=CONFIG)

    @jax.jit
    def step(params, opt_state, key):
        data_key, loss_key = jax.random.split(key)
        latents, conditions = conditional_data(data_key, 256)
        grads = jax.grad(loss_fn)(params, loss_key, latents, conditions)
        updates, opt_state = tx.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state

    params, opt_state = untrained, tx.init(untrained)
    for key in jax.random.split(jax.random.key(1), 800):
        params, opt_state = step(params, opt_state, key)
    return params


@pytest.fixture(scope="module")
def rough(untrained):
    """Params of a random field that is zero nowhere."""
    return jax.tree.map(jnp.add, untrained, random_params(CONFIG, 0.15))


def random_params(config, scale):
    """Normal params without compiling `flow.init`."""
    shapes = jax.eval_shape(partial(flow.init, config=config), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(scale * rng.normal(size=x.shape), x.dtype), shapes)


@pytest.fixture(scope="module")
def data():
    return conditional_data(jax.random.key(3), DRAWS)


EVERY = jnp.ones((DRAWS, 2), bool)


# Solvers.


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_convergence_order(solver, order):
    """x' = cos(3 t) x + x^2 / 4 against RK4 with many steps in float64."""

    def field(t, x, np=np):
        return np.cos(3 * t) * x + 0.25 * x * x

    exact, h = 1.0, 1e-3
    for t in np.arange(1000) * h:
        k1 = field(t, exact)
        k2 = field(t + h / 2, exact + h / 2 * k1)
        k3 = field(t + h / 2, exact + h / 2 * k2)
        exact += h / 6 * (k1 + 2 * k2 + 2 * k3 + field(t + h, exact + h * k3))

    def end(num_steps):
        return flow.integrate(
            partial(field, np=jnp),
            jnp.ones(()),
            start=0.0,
            stop=1.0,
            solver=solver,
            num_steps=num_steps,
        )

    steps = (8, 16, 32)
    errors = np.abs(np.array([end(n) for n in steps], np.float64) - exact)
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(-order, abs=0.2)


@pytest.mark.parametrize(("solver", "num_steps"), [("heun", 100), ("dopri5", 1)])
def test_time_is_walked_whole(solver, num_steps):
    """x' = 1 backwards from x = 1 ends at 0, whatever the rounding of the steps."""
    end = flow.integrate(
        lambda t, x: jnp.ones(()),
        jnp.ones(()),
        start=1.0,
        stop=0.0,
        solver=solver,
        num_steps=num_steps,
    )
    assert float(end) == pytest.approx(0.0, abs=2e-6)


def test_a_failed_solve_is_nan():
    """x' = x^2 from 2 is infinite at t = 1/2."""
    options = {"start": 0.0, "stop": 1.0, "solver": "dopri5"}
    ends = jax.vmap(lambda x: flow.integrate(lambda t, x: x * x, x, **options))
    np.testing.assert_allclose(ends(jnp.array([0.5, 2.0])), [1.0, np.nan], atol=1e-4)


@pytest.mark.parametrize(("solver", "trace"), [("heun", "exact"), ("dopri5", "hutchinson")])
def test_linear_field_gives_the_gaussian(solver, trace):
    """v = A x + b carries N(0, I) to N(A^-1 (e^A - I) b, e^A e^A'); A has a trace.

    Over all 2^d sign vectors the mean of e e' is the identity: Hutchinson's trace is exact.
    """
    matrix = np.array([[0.5, -0.8, 0.1], [0.4, -0.3, 0.6], [0.0, 0.2, 0.7]])
    drift = np.array([0.3, -1.0, 0.5])
    carried = expm(matrix)
    mean = np.linalg.solve(matrix, (carried - np.eye(3)) @ drift)
    points = np.random.default_rng(0).normal(size=(6, 3))
    expected = multivariate_normal(mean, carried @ carried.T).logpdf(points)
    a, b = jnp.asarray(matrix, jnp.float32), jnp.asarray(drift, jnp.float32)
    signs = jnp.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    found = jax.vmap(
        lambda x: flow.log_density(
            lambda t, y: a @ y + b,
            x,
            None if trace == "exact" else signs,
            solver=solver,
            num_steps=100,
        )
    )(jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-3)


# Densities.


@pytest.mark.parametrize("mask", [(True, True), (True, False), (False, False)])
def test_density_integrates_to_one(trained, mask):
    conditions = jnp.broadcast_to(jnp.array([0.7, -0.5]), GRID.shape)
    density = jnp.exp(log_prob(trained, GRID, conditions, jnp.array(mask)))
    density *= (AXIS[1] - AXIS[0]) ** 2
    assert float(density.sum()) == pytest.approx(1.0, abs=0.02)


def test_density_is_near_the_truth(trained):
    latents, conditions = conditional_data(jax.random.key(7), len(GRID))
    found, blind = (
        float(log_prob(trained, latents, conditions, jnp.full(2, given)).mean())
        for given in (True, False)
    )
    assert found == pytest.approx(float(true_log_prob(latents, conditions).mean()), abs=0.15)
    assert found > blind + 0.5


def test_untrained_flow_is_the_identity(untrained):
    expected = multivariate_normal(np.zeros(2)).logpdf(GRID)
    found = log_prob(untrained, GRID, GRID, jnp.ones(2, bool))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_mean_of_hutchinson_is_the_exact_trace(rough):
    latents = jnp.broadcast_to(jnp.array([0.5, -1.0]), GRID.shape)
    mask = jnp.array([True, False])
    exact = float(log_prob(rough, latents, latents, mask)[0])
    found = log_prob(rough, latents, latents, mask, key=jax.random.key(5), trace="hutchinson")
    error = float(jnp.std(found)) / math.sqrt(len(GRID))
    assert error > 1e-4
    assert float(jnp.mean(found)) == pytest.approx(exact, abs=4 * error)


# Sampling.


def test_guidance_one_is_plain_heun_on_the_conditional_field(rough, untrained, data):
    key, mask = jax.random.key(2), jax.random.bernoulli(jax.random.key(8), 0.5, (DRAWS, 2))
    x = draw(untrained, key, data[1], mask)  # the identity: the noise itself
    found = draw(rough, key, data[1], mask)
    h = np.float32(1 / flow.STEPS)
    for t in h * np.arange(flow.STEPS, dtype=np.float32):
        slope = velocities(rough, t, x, data[1], mask)
        end = velocities(rough, t + h, x + h * slope, data[1], mask)
        x = x + h / 2 * (slope + end)
    np.testing.assert_allclose(found, x, atol=1e-4)
    assert float(jnp.abs(found - draw(rough, key, data[1], ~mask)).max()) > 0.05


def test_sample_then_invert_returns_the_noise(trained, untrained, data):
    key, options = jax.random.key(2), {"guidance": 2.0, "num_steps": 50}
    noise = draw(untrained, key, data[1], EVERY)
    latents = draw(trained, key, data[1], EVERY, **options)
    back = flow.invert(trained, latents, data[1], EVERY, config=CONFIG, **options)
    assert float(jnp.abs(latents - noise).mean()) > 0.5
    np.testing.assert_allclose(back, noise, atol=0.02)
    assert float(jnp.abs(back - noise).mean()) < 1e-3


def test_the_default_steps_agree_with_dopri5(trained, data):
    key = jax.random.key(2)
    fine = draw(trained, key, data[1], EVERY, solver="dopri5")
    coarse = draw(trained, key, data[1], EVERY)
    assert 1e-6 < float(jnp.abs(coarse - fine).mean()) < 0.03


@pytest.mark.parametrize("space", ["open", "nb201", "nb101"])
def test_the_default_steps_suffice_for_the_shipped_flows(space):
    """Root mean square of what they are off, in units of the latents' deviation."""
    bundle = load_cells(space)
    keys = jax.random.split(jax.random.key(0), 2)
    clusters = np.arange(256) % len(bundle.mixture.means)
    wanted = jnp.asarray(mixture.sample(keys[0], bundle.mixture, clusters), jnp.float32)
    noise = jax.random.normal(keys[1], (256, bundle.flow_config.latent_dim))
    few = flow.carry(bundle.flow, noise, wanted, config=bundle.flow_config)
    many = flow.carry(bundle.flow, noise, wanted, config=bundle.flow_config, num_steps=80)
    off = float(jnp.sqrt(jnp.mean((few - many) ** 2)))
    assert 1e-3 < off < 0.1 * float(jnp.std(many))


def test_a_sample_does_not_depend_on_its_neighbours(rough, data):
    """Adaptive steps are chosen for each example."""
    key, conditions = jax.random.key(2), data[1]
    changed = conditions.at[1:].multiply(-3.0)
    alone, beside = (draw(rough, key, c, EVERY, solver="dopri5") for c in (conditions, changed))
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-6)
    assert float(jnp.abs(alone[1:] - beside[1:]).max()) > 1e-2


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_one_condition_for_all_is_a_row_for_each(rough, guidance):
    key, condition, mask = jax.random.key(2), jnp.array([0.7, -1.2]), jnp.array([True, False])
    options = dict(config=CONFIG, guidance=guidance)
    each = flow.sample(rough, key, jnp.tile(condition, (DRAWS, 1)), mask, **options)
    once = flow.sample(rough, key, condition, mask, num=DRAWS, **options)
    np.testing.assert_allclose(once, each, rtol=1e-4, atol=1e-5)


def test_temperature_scales_the_noise(rough, untrained, data):
    first, second = jax.random.key(0), jax.random.key(1)
    still = [draw(rough, key, data[1], EVERY, 0.0) for key in (first, second)]
    moved = [draw(rough, key, data[1], EVERY, 1.0) for key in (first, second)]
    np.testing.assert_array_equal(*still)
    assert float(jnp.abs(moved[0] - moved[1]).mean()) > 0.1
    whole, half = (draw(untrained, first, data[1], EVERY, t) for t in (1.0, 0.5))
    np.testing.assert_allclose(0.5 * whole, half, rtol=1e-6)
    np.testing.assert_allclose(whole.std(axis=0), 1.0, atol=0.1)


def test_samples_follow_the_given_conditions(trained):
    """Mean and spread: given c_0 alone x_0 centres on it with 0.4; not given, 0 and sqrt(1.16)."""
    sign_spread = 0.8**2 + SCALE[1] ** 2
    narrow = np.sqrt([SCALE[0] ** 2, sign_spread])
    wide = np.sqrt([SCALE[0] ** 2 + 1, sign_spread + 0.25])
    for wanted in (-1.0, 1.0):
        conditions = jnp.full((DRAWS, 2), wanted)
        for mask in itertools.product((True, False), repeat=2):
            given = jnp.broadcast_to(jnp.array(mask), EVERY.shape)
            latents = draw(trained, jax.random.key(4), conditions, given)
            mean = np.where(mask, [wanted, wanted / 2], 0.0)
            said = f"{mask} {wanted}"
            np.testing.assert_allclose(latents.mean(axis=0), mean, atol=0.2, err_msg=said)
            spread = np.where(mask, narrow, wide)
            np.testing.assert_allclose(latents.std(axis=0), spread, atol=0.15, err_msg=said)


@pytest.mark.parametrize(("guidance", "evaluations"), [(1.0, 1), (2.0, 2)])
def test_guidance_one_skips_the_unconditional_field(monkeypatch, guidance, evaluations):
    masks = []

    def counting(params, t, x, condition, mask, *, config):
        masks.append(mask)
        return x

    monkeypatch.setattr(flow_field, "vector_field", counting)
    field = flow_field.guided_field(
        {}, jnp.ones(2), jnp.ones(2, bool), config=CONFIG, guidance=guidance
    )
    field(jnp.zeros(()), jnp.ones(2))
    assert len(masks) == evaluations
    assert sum(bool(mask.all()) for mask in masks) == 1


def test_guidance_extrapolates(monkeypatch):
    """v_uncond + g (v_cond - v_uncond), with v the number of given conditions."""
    monkeypatch.setattr(
        flow_field,
        "vector_field",
        lambda params, t, x, c, mask, *, config: x + mask.sum(dtype=x.dtype),
    )
    for guidance in (0.0, 1.0, 2.5):
        field = flow_field.guided_field(
            {}, jnp.ones(2), jnp.ones(2, bool), config=CONFIG, guidance=guidance
        )
        velocity = field(jnp.zeros(()), jnp.full(2, 10.0))
        np.testing.assert_allclose(velocity, 10.0 + 2 * guidance)


# Masks.


@pytest.mark.parametrize("given", [True, False])
def test_a_wider_field_is_what_it_was_whatever_the_new_condition(rough, data, given):
    wider, config = flow.widen(rough, CONFIG)
    latents, conditions = data
    mask, new = jnp.arange(2 * DRAWS).reshape(DRAWS, 2) % 3 != 0, jnp.full((DRAWS, 1), 5.0)
    t = jnp.asarray(0.3)
    field = partial(flow.vector_field, config=config)
    found = jax.vmap(field, in_axes=(None, None, 0, 0, 0))(
        wider,
        t,
        latents,
        jnp.concatenate([conditions, new], 1),
        jnp.concatenate([mask, jnp.full((DRAWS, 1), given)], 1),
    )
    expected = velocities(rough, t, latents, conditions, mask)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match="`num` must be at least 1; got 0"):
        flow.widen(rough, CONFIG, 0)


@pytest.mark.parametrize("value", [7.0, math.inf, math.nan])
def test_values_not_given_influence_nothing(rough, data, value):
    latents, conditions = data
    mask = jnp.arange(2 * DRAWS).reshape(DRAWS, 2) % 3 != 0
    key = jax.random.key(0)

    def results(conditions, mask):
        trained_on = loss_and_grads(rough, key, latents, conditions, mask)
        return trained_on, draw(rough, key, conditions, mask, guidance=2.0, num_steps=50)

    expected = results(conditions, mask)
    found = results(jnp.where(mask, conditions, value), mask)
    jax.tree.map(np.testing.assert_array_equal, expected, found)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))
    other = results(conditions + 1.0, mask)
    assert float(other[0][0]) != float(expected[0][0])
    assert float(jnp.abs(other[1] - expected[1]).max()) > 0.05


def test_no_mask_means_all_given(rough, data):
    draws = [draw(rough, jax.random.key(0), data[1], mask) for mask in (None, EVERY)]
    np.testing.assert_array_equal(*draws)


def test_drop_conditions_rates():
    """A known one is kept with (1 - p)^2 = .5625; a row of two is empty with p + (1 - p) p^2."""
    known = jnp.broadcast_to(jnp.array([True, True, False]), (20_000, 3))
    drop = flow.drop_conditions
    kept = drop(jax.random.key(0), known, 0.25)
    assert not bool((kept & ~known).any())
    np.testing.assert_allclose(kept[:, :2].mean(axis=0), 0.5625, atol=0.015)
    assert float((~kept.any(axis=1)).mean()) == pytest.approx(0.25 + 0.75 * 0.0625, abs=0.015)
    np.testing.assert_array_equal(drop(jax.random.key(0), known, 0.0), known)
    assert not bool(drop(jax.random.key(0), known, 1.0).any())


# Objectives.


def test_flow_matching_loss_of_the_zero_field(untrained, data):
    """v = 0: E |data - noise|^2 / d = 1 + E data^2; four standard errors allowed."""
    latents = jnp.full((DRAWS, 2), 2.0)
    loss, _ = loss_and_grads(untrained, jax.random.key(1), latents, data[1], EVERY)
    assert float(loss) == pytest.approx(5.0, abs=4 * 3 / math.sqrt(DRAWS))


def test_likelihood_loss_and_its_gradient():
    """In one dimension e = +-1, so Hutchinson's estimate is the trace: loss = -mean log p.

    The gradient through the solver is held against a central difference along itself.
    """
    config = flow.FlowConfig(latent_dim=1, condition_dim=1, width=8, depth=1, context_width=8)
    params = random_params(config, 0.5)
    latents, conditions = jax.random.normal(jax.random.key(2), (2, 64, 1))

    @jax.jit
    @jax.value_and_grad
    def loss_and_slope(params):
        options = {"config": config, "drop_probability": 0.0, "num_steps": 4}
        return flow.likelihood_loss(params, jax.random.key(3), latents, conditions, **options)

    loss, grads = loss_and_slope(params)
    exact = flow.log_prob(params, latents, conditions, config=config, num_steps=4)
    identity = multivariate_normal(0.0).logpdf(latents)
    assert float(loss) == pytest.approx(-float(exact.mean()), rel=1e-5)
    assert abs(float(loss) + identity.mean()) > 0.05
    norm = math.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(grads)))

    def loss_along(length):
        return float(
            loss_and_slope(jax.tree.map(lambda p, g: p + length / norm * g, params, grads))[0]
        )

    assert (loss_along(0.01) - loss_along(-0.01)) / 0.02 == pytest.approx(norm, rel=0.02)


@pytest.mark.parametrize("name", list(flow.OBJECTIVES))
def test_every_objective_says_its_options(name):
    """Each takes (params, key, latents, conditions, mask, config) and returns a scalar."""
    config = flow.FlowConfig(latent_dim=1, condition_dim=1, width=8, depth=1, context_width=8)
    shapes = jax.eval_shape(
        partial(flow.OBJECTIVES[name], config=config),
        jax.eval_shape(partial(flow.init, config=config), jax.random.key(0)),
        jax.random.key(1),
        jnp.ones((4, 1)),
        jnp.ones((4, 1)),
        jnp.ones((4, 1), bool),
    )
    assert shapes.shape == () and shapes.dtype == jnp.float32


# Options.


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("activation", list(flow_field.ACTIVATIONS))
def test_every_parameter_moves_the_field(activation, residual):
    config = CONFIG._replace(width=8, activation=activation, residual=residual, time_features=1)
    params = random_params(config, 0.3)

    @jax.jit
    @jax.grad
    def sensitivity(params):
        args = (params, jnp.asarray(0.3), jnp.array([0.4, -1.0]), jnp.array([1.0, 2.0]))
        return flow.vector_field(*args, jnp.ones(2, bool), config=config) @ jnp.array([1.0, 0.3])

    for path, slope in jax.tree_util.tree_leaves_with_path(sensitivity(params)):
        assert float(jnp.abs(slope).max()) > 1e-6, jax.tree_util.keystr(path)
    assert ("norm_1" in params) == residual


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_dim": 0}, "`latent_dim` must be at least 1; got 0"),
        ({"depth": 0}, "`depth` must be at least 1; got 0"),
        ({"time_features": -1}, "`time_features` must not be negative; got -1"),
        ({"activation": "relu"}, "`activation` must be one of silu, tanh; got 'relu'"),
    ],
)
def test_bad_sizes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        flow.init(jax.random.key(0), CONFIG._replace(**change))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "rk4"}, "`solver` must be one of euler, heun, dopri5; got 'rk4'"),
        ({"num_steps": 0}, "`num_steps` must be at least 1; got 0"),
        ({"trace": "guess"}, "`trace` must be one of exact, hutchinson; got 'guess'"),
        ({"trace": "hutchinson"}, "`key` must be given"),
        ({"trace": "hutchinson", "num_probes": 0}, "`num_probes` must be at least 1; got 0"),
    ],
)
def test_bad_options_are_named(untrained, data, options, message):
    with pytest.raises(ValueError, match=message):
        flow.log_prob(untrained, *data, config=CONFIG, **options)
