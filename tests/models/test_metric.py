"""The losses of the metric space: closed forms, masks, and that training on them works."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.models import graph_order, graph_vae, metric
from nasgen.spaces import graphs
from nasgen.spaces import open as open_space
from nasgen.spaces.open import RULES
from nasgen.types import CellBatch

CONFIG = graph_vae.VaeConfig(
    RULES, latent_dim=24, width=24, depth=2, readout_width=64, decoder_width=96, step_width=48
)
BATCH = 48
WEIGHTS = {"kl_weight": 0.3, "triplet_weight": 0.7, "condition_weight": 2.0}
vae_loss = jax.jit(partial(metric.vae_loss, config=CONFIG, **WEIGHTS))
triplet_loss = jax.jit(metric.triplet_loss, static_argnames=("radius", "margin"))


@pytest.fixture(scope="module")
def batch():
    cells = graphs.canonicalize(open_space.sample(jax.random.key(0), BATCH))
    nodes, adjacency = graph_order.reorder(*map(jnp.asarray, cells))
    conditions = jax.random.normal(jax.random.key(1), (BATCH, 4))
    mask = jnp.ones((BATCH, 4), bool).at[BATCH // 2 :, 2:].set(False)
    return {"nodes": nodes, "adjacency": adjacency, "conditions": conditions, "mask": mask}


@pytest.fixture(scope="module")
def params():
    return graph_vae.init(jax.random.key(2), CONFIG)


def test_kl_divergence_is_the_mean_log_ratio():
    mean, log_variance = jnp.array([[0.5, -1.0]]), jnp.array([[-0.7, 0.3]])
    scale = jnp.exp(0.5 * log_variance)
    draws = mean + scale * jax.random.normal(jax.random.key(0), (200_000, 2))
    normal = jax.scipy.stats.norm.logpdf
    ratio = normal(draws, mean, scale) - normal(draws)
    found = metric.kl_divergence(mean, log_variance)
    np.testing.assert_allclose(found[0], ratio.sum(1).mean(), atol=0.01)
    assert metric.kl_divergence(jnp.zeros((1, 2)), jnp.zeros((1, 2)))[0] == 0.0


def test_free_nats_are_a_floor_without_gradient():
    def total(mean):
        return metric.kl_divergence(mean, jnp.zeros((1, 2)), free_nats=0.5).sum()

    mean = jnp.array([[0.1, 3.0]])  # 0.005 and 4.5 nats
    np.testing.assert_allclose(total(mean), 0.5 + 4.5, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(total)(mean), [[0.0, 3.0]], rtol=1e-6)


def test_unknown_conditions_do_not_count():
    predicted = jnp.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    conditions = jnp.array([[0.0, 0.0], [1.0, jnp.nan], [jnp.nan, jnp.nan]])
    mask = jnp.array([[True, True], [True, False], [False, False]])
    loss, slope = jax.value_and_grad(metric.condition_loss)(predicted, conditions, mask)
    np.testing.assert_allclose(loss, ((1 + 4) / 2 + 4) / 2)  # columns: 2.5, 4
    assert np.isfinite(slope).all() and np.array_equal(slope != 0, mask)
    assert metric.condition_loss(predicted, conditions, jnp.zeros((3, 2), bool)) == 0.0


def test_condition_distances_use_what_both_know():
    conditions = jnp.array([[0.0, 0.0], [3.0, 4.0], [3.0, 99.0], [77.0, 1.0]])
    mask = jnp.array([[True, True], [True, True], [True, False], [False, True]])
    distances = metric.condition_distances(conditions, mask)
    np.testing.assert_allclose(distances[0, 1], 5.0, rtol=1e-6)
    np.testing.assert_allclose(distances[0, 2], np.sqrt(2 * 9), rtol=1e-6)  # one of two shared
    assert distances[2, 3] == np.inf  # none shared
    np.testing.assert_array_equal(distances, distances.T)


def test_triplet_loss_by_hand():
    # Cells 0 and 1 are alike, 2 is not: two anchors, one positive and one negative each.
    conditions = jnp.array([[0.0], [0.5], [4.0]])
    mask = jnp.ones((3, 1), bool)
    latents = jnp.array([[0.0], [2.0], [1.5]])
    loss = triplet_loss(jax.random.key(0), latents, conditions, mask, margin=0.1)
    by_hand = ((2.0 - 1.5 + 0.1) + (2.0 - 0.5 + 0.1)) / 2
    np.testing.assert_allclose(loss, by_hand, atol=1e-5)
    satisfied = jnp.array([[0.0], [0.2], [9.0]])
    assert triplet_loss(jax.random.key(0), satisfied, conditions, mask) == 0.0


def test_triplets_are_near_and_far():
    conditions = jax.random.normal(jax.random.key(3), (BATCH, 4)) * 0.7
    # Latents that are the conditions, with a wide gap to whatever is farther than the radius.
    mask = jnp.ones((BATCH, 4), bool)
    distances = metric.condition_distances(conditions, mask)
    for seed in range(3):
        loss = triplet_loss(
            jax.random.key(seed), conditions, conditions, mask, radius=1.0, margin=0.0
        )
        assert loss == 0.0
    assert ((distances <= 1.0).sum(1) > 1).any() and (distances > 1.0).any()


def test_anchors_without_partners_do_not_count():
    latents = jax.random.normal(jax.random.key(0), (4, 2))
    alike = jnp.zeros((4, 1))
    known, unknown = jnp.ones((4, 1), bool), jnp.zeros((4, 1), bool)
    assert triplet_loss(jax.random.key(1), latents, alike, known) == 0.0
    assert triplet_loss(jax.random.key(1), latents, alike, unknown) == 0.0


def test_triplet_gradient_is_finite_where_latents_coincide():
    conditions = jnp.array([[0.0], [0.5], [4.0]])
    mask = jnp.ones((3, 1), bool)
    slope = jax.grad(triplet_loss, argnums=1)(
        jax.random.key(0), jnp.zeros((3, 2)), conditions, mask, margin=0.1
    )
    assert np.isfinite(slope).all()


def test_tell_shows_subsets_as_often_as_asked():
    shown = np.asarray(metric.tell(jax.random.key(0), jnp.ones((20_000, 2), bool), 0.5))
    nothing, everything = (~shown).all(1).mean(), shown.all(1).mean()
    # Told half the time: then both (half), or one coin for each condition.
    np.testing.assert_allclose([nothing, everything], [0.5 + 0.0625, 0.25 + 0.0625], atol=0.01)
    assert not metric.tell(jax.random.key(0), jnp.ones((9, 2), bool), 0.0).any()


def test_blur_moves_every_other_row_and_teaches_the_encoder_nothing():
    latents = 3.0 * jax.random.normal(jax.random.key(0), (4000, 5))

    def moved(latents):
        return metric.blurred(jax.random.key(1), latents, 0.5)

    change = (moved(latents) - latents) / 3.0
    rows = (change != 0).all(1)
    assert abs(rows.mean() - 0.5) < 0.03 and np.array_equal(rows, (change != 0).any(1))
    # A scale uniform in 0..0.5 has the mean square 0.25 / 3.
    np.testing.assert_allclose((change[rows] ** 2).mean(), 0.25 / 3, rtol=0.1)
    slope = jax.grad(lambda x: moved(x).sum())(latents)
    assert np.array_equal(slope, jnp.broadcast_to(~rows[:, None], slope.shape))
    assert np.array_equal(metric.blurred(jax.random.key(1), latents, 0.0), latents)


def test_loss_is_the_weighted_sum_of_its_parts(params, batch):
    loss, parts = vae_loss(params, jax.random.key(0), batch)
    total = parts["ops"] + parts["edges"] + 0.3 * parts["kl"]
    total += 0.7 * parts["triplet"] + 2.0 * parts["condition"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_loss_never_reads_unknown_conditions(params, batch):
    hidden = {**batch, "conditions": jnp.where(batch["mask"], batch["conditions"], jnp.nan)}
    loss, _ = vae_loss(params, jax.random.key(0), batch)
    same, _ = vae_loss(params, jax.random.key(0), hidden)
    assert loss == same


def test_training_reconstructs_and_regresses(params, batch):
    """300 steps on 48 cells: exact reconstruction from the mean latent, conditions known."""
    tx = optax.adam(3e-3)

    @jax.jit
    def step(params, opt_state, key):
        grads, parts = jax.grad(partial(metric.vae_loss, config=CONFIG), has_aux=True)(
            params, key, batch
        )
        updates, opt_state = tx.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, parts

    opt_state = tx.init(params)
    for index in range(300):
        params, opt_state, _ = step(params, opt_state, jax.random.fold_in(jax.random.key(5), index))
    mean, _ = graph_vae.encode(params, batch["nodes"], batch["adjacency"], config=CONFIG)
    nodes, adjacency = graph_vae.decode(params, mean, config=CONFIG)
    decoded = graphs.canonical_keys(CellBatch(np.asarray(nodes), np.asarray(adjacency)))
    wanted = CellBatch(np.asarray(batch["nodes"]), np.asarray(batch["adjacency"]))
    same = [a == b for a, b in zip(decoded, graphs.canonical_keys(wanted), strict=True)]
    assert np.mean(same) >= 0.9
    predicted = graph_vae.predict_conditions(params, mean, config=CONFIG)
    assert metric.condition_loss(predicted, batch["conditions"], batch["mask"]) < 0.2
