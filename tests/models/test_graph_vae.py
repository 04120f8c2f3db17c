"""The graph VAE: invariance, valid decoding of anything, likelihoods that add up to one."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nasgen.models import graph_decoder, graph_order, graph_vae
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import open as open_space
from nasgen.types import ABSENT, INPUT, MAX_NODES, OUTPUT, CellBatch, CellRules

SIZES = dict(latent_dim=16, width=24, depth=2, readout_width=48, decoder_width=64, step_width=32)
CONFIG = graph_vae.VaeConfig(open_space.RULES, **SIZES)
TWO_OPS = CellRules(2, 0, 6, min_edges=1, max_edges=28)
NUM = 400


@pytest.fixture(scope="module")
def params():
    return graph_vae.init(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def cells():
    """Cells with few ops, so that many nodes are alike, and cells of the whole space."""
    batch = open_space.sample(jax.random.key(1), NUM)
    nodes = batch.nodes.copy()
    alike = (np.arange(NUM)[:, None] % 2 == 0) & (nodes >= 0)
    nodes[alike] %= 2
    return CellBatch(nodes, batch.adjacency)


def scatter_nodes(rng, batch):
    """The same cells with absent nodes anywhere between the ends, and another node order."""
    mixed = graphs.random_order(rng, batch)
    nodes, adjacency = mixed.nodes.copy(), mixed.adjacency.copy()
    for b in range(len(nodes)):
        present = np.flatnonzero(nodes[b, 1:-1] != ABSENT) + 1
        places = np.sort(rng.permutation(np.arange(1, MAX_NODES - 1))[: len(present)])
        source, target = np.array([0, *present, 7]), np.array([0, *places, 7])
        moved = np.full(MAX_NODES, ABSENT, nodes.dtype)
        edges = np.zeros((MAX_NODES, MAX_NODES), bool)
        moved[target] = nodes[b, source]
        edges[np.ix_(target, target)] = adjacency[b][np.ix_(source, source)]
        nodes[b], adjacency[b] = moved, edges
    return CellBatch(nodes, adjacency)


def test_latent_does_not_depend_on_node_order_or_padding(params, cells):
    other = scatter_nodes(np.random.default_rng(0), cells)
    assert (other.nodes != cells.nodes).any(1).mean() > 0.5
    mean, log_variance = graph_vae.encode(params, *cells, config=CONFIG)
    again, again_log_variance = graph_vae.encode(params, *other, config=CONFIG)
    np.testing.assert_allclose(again, mean, atol=2e-5)
    np.testing.assert_allclose(again_log_variance, log_variance, atol=2e-5)


def test_different_cells_have_different_latents(params, cells):
    mean = np.asarray(graph_vae.encode(params, *cells, config=CONFIG)[0])
    keys = graphs.canonical_keys(cells)
    distances = np.abs(mean[:, None] - mean[None]).max(-1)
    same = np.array(keys)[:, None] == np.array(keys)[None]
    assert distances[~same].min() > 2e-4 and distances[same].max() < 2e-5


def test_latent_does_not_depend_on_the_rest_of_the_batch(params, cells):
    mean, _ = graph_vae.encode(params, *cells, config=CONFIG)
    alone, _ = graph_vae.encode(params, cells.nodes[3:4], cells.adjacency[3:4], config=CONFIG)
    np.testing.assert_allclose(alone[0], mean[3], atol=1e-5)


def test_every_layer_hears_both_directions_of_an_edge(params):
    """A change of the last op reaches the first op's state, and the other way round."""
    chain = np.zeros((NUM, MAX_NODES, MAX_NODES), bool)
    for i in range(MAX_NODES - 1):
        chain[:, i, i + 1] = True
    nodes = np.tile(np.array([INPUT, 0, 1, 2, 3, 4, 5, OUTPUT], np.int8), (NUM, 1))

    def embedded(change):
        changed = nodes.copy()
        changed[1, change] = 9
        mean = graph_vae.encode(params, changed, chain, config=CONFIG)[0]
        return float(jnp.abs(mean[0] - mean[1]).max())

    assert min(embedded(node) for node in range(1, 7)) > 1e-3


def test_graphs_have_static_shapes_and_lost_edges_stay_in_the_padding_node(cells):
    graph = graph_vae.to_graphs(*cells)
    padding = NUM * MAX_NODES
    assert graph.senders.shape == (NUM * 28,) and int(graph.n_node.sum()) == padding + 1
    senders, receivers = np.asarray(graph.senders), np.asarray(graph.receivers)
    real = senders != padding
    assert np.array_equal(real, receivers != padding) and real.sum() == cells.adjacency.sum()
    assert (senders[real] < receivers[real]).all()
    assert (senders[real] // MAX_NODES == receivers[real] // MAX_NODES).all()


def test_ranks_ignore_the_order_of_nodes_and_ties_are_few(cells):
    ranks = jax.jit(jax.vmap(graph_order.ranks))
    batch = open_space.sample(jax.random.key(3), 2000)
    other = scatter_nodes(np.random.default_rng(1), batch)
    found, again = (np.asarray(ranks(*map(jnp.asarray, b))) for b in (batch, other))
    for a, b, x, y in zip(found, again, batch.nodes, other.nodes, strict=True):
        assert sorted(zip(a, x, strict=True)) == sorted(zip(b, y, strict=True))
    ties = [len(set(r[r < 6])) < (r < 6).sum() for r in found]
    assert np.mean(ties) < 0.01


def test_reorder_keeps_the_graph_and_the_direction_of_edges(cells):
    nodes, adjacency = map(np.asarray, graph_order.reorder(*map(jnp.asarray, cells)))
    reordered = CellBatch(nodes, adjacency)
    assert open_space.is_valid(reordered).all()
    assert graphs.canonical_keys(reordered) == graphs.canonical_keys(cells)
    present = nodes[:, 1:-1] != ABSENT
    assert (present[:, :-1] >= present[:, 1:]).all()  # absent ones last


def test_reorder_of_canonical_cells_is_canonical(cells):
    def order(batch):
        return graph_order.reorder(*map(jnp.asarray, graphs.canonicalize(batch)))

    first = order(cells)
    second = order(scatter_nodes(np.random.default_rng(2), cells))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e30, np.inf])
@pytest.mark.parametrize("told", [False, True])
def test_whatever_is_decoded_is_valid(params, scale, told):
    latents = scale * jax.random.normal(jax.random.key(4), (2000, CONFIG.latent_dim))
    wish = (scale * jnp.ones((2000, 4)), jnp.ones((2000, 4), bool)) if told else (None, None)
    nodes, adjacency = graph_vae.decode(params, latents, *wish, config=CONFIG)
    assert nodes.dtype == jnp.int8
    assert open_space.is_valid(CellBatch(np.asarray(nodes), np.asarray(adjacency))).all()


def test_decoding_is_valid_whatever_the_weights_say(cells):
    """Weights blown up a hundredfold: sparse, dense, short and long cells, repaired a lot."""
    small = 0
    for seed in range(3):
        wild = jax.tree.map(lambda x: 100 * x, graph_vae.init(jax.random.key(seed), CONFIG))
        bias = wild["decoder"]["op_head"]["bias"].at[-1].set(1e4 * (seed - 1))
        wild["decoder"]["op_head"]["bias"] = bias
        scores = wild["decoder"]["parent_head"]["bias"] - 1e4 * seed
        wild["decoder"]["parent_head"]["bias"] = scores
        latents = jax.random.normal(jax.random.key(5), (2000, CONFIG.latent_dim))
        nodes, adjacency = map(np.asarray, graph_vae.decode(wild, latents, config=CONFIG))
        assert open_space.is_valid(CellBatch(nodes, adjacency)).all()
        small += (adjacency.sum((1, 2)) == 3).sum()
    assert small > 0


def test_twins_have_a_place_each():
    """Three nodes of rank 1 fill places 1 to 3 with their mean; nothing is lost."""
    rank = jnp.array([6, 0, 1, 1, 1, 4, 6, 6])
    places = np.asarray(graph_vae.readout_places(rank))
    np.testing.assert_allclose(places.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(places[:, :5].sum(0), [1, 1, 1, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(places[2:5, 1:4], np.full((3, 3), 1 / 3), rtol=1e-6)
    assert places[:, 5].sum() == 0 and places[:, 6].sum() == 3
    order = np.array([0, 4, 2, 1, 3, 5, 6, 7])
    again = np.asarray(graph_vae.readout_places(rank[order]))
    np.testing.assert_array_equal(again, places[order])


@pytest.mark.parametrize("name", ["nb101", "nb201", "transnas_micro"])
@pytest.mark.parametrize("scale", [1.0, 100.0, np.inf])
def test_whatever_is_decoded_is_valid_in_every_space(name, scale):
    """Trained or not, near the data or far: also with weights blown up, sparse and dense."""
    space, seen = SPACES[name], []
    config = graph_vae.VaeConfig(space.rules, **SIZES)
    for seed, bias in ((0, 0.0), (1, 1e3), (2, -1e3)):
        params = graph_vae.init(jax.random.key(seed), config)
        params = jax.tree.map(lambda x: 10 * x, params)
        head = params["decoder"]["parent_head"]
        head["bias"] = head["bias"] + bias
        stop = params["decoder"]["op_head"]
        stop["bias"] = stop["bias"].at[-1].add(-bias)
        latents = scale * jax.random.normal(jax.random.key(seed), (1000, config.latent_dim))
        nodes, adjacency = map(np.asarray, graph_vae.decode(params, latents, config=config))
        assert space.is_valid(CellBatch(nodes, adjacency)).all()
        seen.append(adjacency.sum((1, 2)))
    if name == "nb101" and np.isfinite(scale):  # the limit of nine edges is met, and reached
        assert max(map(np.max, seen)) == space.rules.max_edges
        assert min(map(np.min, seen)) < 4


@pytest.mark.parametrize("name", ["open", "nb101", "nb201"])
def test_rules_are_those_of_the_space(name):
    """The sampler's cells keep them, and reach every limit that they set."""
    space = SPACES[name]
    batch = space.sample(jax.random.key(0), 4000)
    ops, edges = (batch.nodes[:, 1:-1] >= 0).sum(1), batch.adjacency.sum((1, 2))
    assert ops.min() == space.rules.min_ops and ops.max() == space.rules.max_ops
    assert edges.min() == space.rules.min_edges
    assert edges.max() <= space.rules.max_edges == (28 if name == "open" else edges.max())
    assert batch.nodes.max() == space.rules.num_ops - 1 == len(space.ops) - 1


def test_projection_adds_only_what_is_needed_and_the_best():
    nodes = jnp.array([INPUT, 4, 7, 2, ABSENT, ABSENT, ABSENT, OUTPUT])
    edges = [(0, 1), (1, 2), (0, 3), (2, 7)]  # node 3 has no child
    adjacency = jnp.zeros((8, 8), bool).at[tuple(zip(*edges, strict=True))].set(True)
    scores = jax.random.normal(jax.random.key(0), (8, 8))
    fixed = graph_decoder.project(nodes, adjacency, scores, min_edges=3)
    assert np.array_equal(np.argwhere(fixed != adjacency), [[3, 7]])
    whole = adjacency.at[3, 7].set(True)
    assert np.array_equal(graph_decoder.project(nodes, whole, scores, min_edges=3), whole)
    # With more edges wanted, the best-scoring missing ones between present nodes come.
    wanted = graph_decoder.project(nodes, whole, scores, min_edges=7)
    place = np.array([0, 1, 2, 3, 7])
    missing = [p for p in itertools.combinations(place, 2) if not whole[p]]
    best = sorted(missing, key=lambda p: -float(scores[p]))[:2]
    assert {tuple(e) for e in np.argwhere(np.asarray(wanted & ~whole))} == set(best)


def test_projection_changes_no_valid_cell(cells):
    project = jax.vmap(partial(graph_decoder.project, min_edges=3))
    nodes, adjacency = map(jnp.asarray, cells)
    scores = jax.random.normal(jax.random.key(0), adjacency.shape)
    assert np.array_equal(project(nodes, adjacency, scores), adjacency)


def test_likelihoods_of_all_small_cells_add_up_to_one():
    """Two ops, at most two op nodes: every cell, parentless nodes included, has its share."""
    config = graph_vae.decoder_config(
        graph_vae.VaeConfig(TWO_OPS, latent_dim=3, decoder_width=8, step_width=8)
    )
    params = jax.jit(partial(graph_decoder.init, config=config))(jax.random.key(0))
    # A third op once in about 20,000 cells, so that the sum stops at two.
    params["op_head"]["bias"] = params["op_head"]["bias"].at[-1].add(4.0)
    latent, told = jnp.array([0.3, -1.0, 2.0]), jnp.zeros(8)
    nodes, graphs_ = [], []
    for num in range(3):
        place = [0, *range(1, num + 1), 7]
        pairs = list(itertools.combinations(place, 2))
        for ops in itertools.product(range(2), repeat=num):
            for bits in itertools.product((False, True), repeat=len(pairs)):
                adjacency = np.zeros((8, 8), bool)
                for pair, bit in zip(pairs, bits, strict=True):
                    adjacency[pair] = bit
                nodes.append([INPUT, *ops, *[ABSENT] * (6 - num), OUTPUT])
                graphs_.append(adjacency)
    likelihoods = partial(graph_decoder.log_likelihoods, params, latent, told, config=config)
    log_ops, log_edges = jax.jit(jax.vmap(likelihoods))(jnp.array(nodes), np.array(graphs_))
    shares = np.exp(log_ops + log_edges)
    lengths = (np.array(nodes)[:, 1:-1] != ABSENT).sum(1)
    by_length = np.array([shares[lengths == num].sum() for num in range(3)])
    assert by_length[1] > 1e-2 and by_length[2] > 5e-4  # both count in the sum
    np.testing.assert_allclose(by_length.sum(), 1.0, atol=2e-4)


def test_decoding_is_the_greedy_choice_of_the_likelihood(params):
    """Where nothing had to be repaired: each op is the likeliest, each edge likelier than not."""
    params = jax.tree.map(jnp.copy, params)
    bias = params["decoder"]["parent_head"]["bias"]
    params["decoder"]["parent_head"]["bias"] = bias + 0.7  # denser cells need fewer repairs
    latents = jax.random.normal(jax.random.key(6), (2000, CONFIG.latent_dim))
    nodes, adjacency = graph_vae.decode(params, latents, config=CONFIG)
    decoder = graph_decoder.Decoder(graph_vae.decoder_config(CONFIG))
    weights = {"params": params["decoder"]}
    teacher_forced = jax.jit(jax.vmap(partial(decoder.apply, weights), in_axes=(0, None, 0, 0)))
    logits, scores = map(np.array, teacher_forced(latents, jnp.zeros(8), nodes, adjacency))
    nodes, adjacency = np.asarray(nodes), np.asarray(adjacency)
    present = nodes != ABSENT
    allowed = np.triu(present[:, :, None] & present[:, None, :], 1)
    untouched = (adjacency == (allowed & (scores > 0))).all((1, 2))
    assert untouched.sum() > 100
    logits[:, 0, -1] = -np.inf  # the first slot must hold an op
    chosen = np.where(nodes[:, 1:-1] == ABSENT, CONFIG.rules.num_ops, nodes[:, 1:-1])
    open_slot = present[:, :-2]
    assert ((chosen == logits.argmax(-1)) | ~open_slot)[untouched].all()


def test_decoder_listens_only_if_asked(params):
    latents = jax.random.normal(jax.random.key(7), (2000, CONFIG.latent_dim))
    known = jnp.ones((2000, 4), bool)
    wishes = [jnp.full((2000, 4), value) for value in (-3.0, 3.0)]
    deaf = CONFIG._replace(decoder_condition=False)
    for config, weights in ((CONFIG, params), (deaf, graph_vae.init(jax.random.key(0), deaf))):
        decode = partial(graph_vae.decode, weights, latents, config=config)
        low, high = (decode(wish, known)[0] for wish in wishes)
        assert np.array_equal(low, high) != config.decoder_condition


def test_conditions_are_linear_in_the_latent(params):
    a, b = jax.random.normal(jax.random.key(8), (2, 5, CONFIG.latent_dim))
    predict = partial(graph_vae.predict_conditions, params, config=CONFIG)
    np.testing.assert_allclose(predict((a + b) / 2), (predict(a) + predict(b)) / 2, atol=1e-5)


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match=r"`depth` must be at least 1; got 0"):
        graph_vae.init(jax.random.key(0), CONFIG._replace(depth=0))
