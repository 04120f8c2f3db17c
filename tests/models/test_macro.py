"""The macro transformer: causal, its cache exact, samples within rules and limits, it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.models import macro
from nasgen.models import macro_language as language
from nasgen.models.macro_language import Vocabulary
from nasgen.models.macro_rules import CostBounds
from nasgen.types import MAX_CELLS, Budget, MacroArchitecture, Stage, Task

VOCABULARY = Vocabulary(num_clusters=5, max_stages=6)
CONFIG = macro.MacroConfig(VOCABULARY, width=32, depth=2, heads=2)
TASK = Task("toy", (16, 16, 3), 10)


def _costs(*costs):
    return jnp.stack(jnp.broadcast_arrays(*costs), axis=-1)


def _stem(channels, height, width):
    pixels = height * width
    return _costs(29 * channels, 27 * channels * pixels, 8 * channels * pixels), height, width


def _stage(in_channels, channels, stride, repeats, height, width):
    height, width = jnp.ceil(height / stride), jnp.ceil(width / stride)
    area = height * width
    projected = jnp.where((stride > 1) | (in_channels != channels), in_channels * channels, 0.0)
    params = projected + 2 * repeats * channels
    return _costs(params, projected * area, 4 * repeats * channels * area), height, width


def _head(classes, channels, final_width, height, width):
    params = (channels + 2 + classes) * final_width + classes
    macs = (channels * height * width + classes) * final_width
    return _costs(params, macs, 8 * final_width * height * width + 4 * classes)


def on_task(rows: int, size: int = 16, classes: int = 10) -> dict:
    """The task of so many requests. A `Partial` with a number of each request's task, and plain
    functions: both may be bounds."""
    head = jax.tree_util.Partial(_head, jnp.full(rows, classes, jnp.float32))
    sizes = np.full(rows, size)
    bounds = CostBounds(_stem, _stage, head)
    return {"bounds": bounds, "heights": sizes, "widths": sizes, "config": CONFIG}


forward = jax.jit(lambda *args: macro.logits(*args, config=CONFIG))
forced = jax.jit(lambda *args: macro.log_prob(*args, **on_task(512)))


def exact_costs(sentence, size=16, classes=10):
    """The made-up bounds again, in plain integers; asserts the rules on the way."""
    width = sentence.stages[0].channels
    total = np.array([29 * width, 27 * width * size**2, 8 * width * size**2], np.int64)
    for stage in sentence.stages:
        assert stage.stride == 1 or size >= 2
        size = -(-size // stage.stride)
        projected = width * stage.channels if stage.stride > 1 or width != stage.channels else 0
        cells = stage.repeats * stage.channels
        total += np.array([projected + 2 * cells, projected * size**2, 4 * cells * size**2])
        width = stage.channels
    assert sum(stage.repeats for stage in sentence.stages) <= MAX_CELLS
    final = sentence.final_width
    params, macs = (width + 2 + classes) * final + classes, (width * size**2 + classes) * final
    return total + np.array([params, macs, 8 * final * size**2 + 4 * classes])


def noisy(params, key):
    """Parameters with enough noise that logits differ by several nats."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noise = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noise)


@pytest.fixture(scope="module")
def params():
    init_key, noise_key = jax.random.split(jax.random.key(0))
    return noisy(macro.init(init_key, CONFIG), noise_key)


@pytest.fixture(scope="module")
def contexts():
    rng = np.random.default_rng(0)
    budgets = [Budget(*(int(x) for x in 10 ** rng.uniform(4, 8, 3))) for _ in range(64)]
    return jnp.stack([language.context_features(TASK, budget, 0.5) for budget in budgets])


def sample(params, seed, contexts, limits, temperature=1.0, **task):
    """Eight sentences for each of 64 requests: always this size, so that one compile does."""
    contexts, limits = (jnp.repeat(x, 8, axis=0) for x in (contexts, limits))
    keys = jax.random.split(jax.random.key(seed), 512)
    options = on_task(512) | task
    return macro.sample(params, keys, contexts, limits, temperature=temperature, **options)


@pytest.fixture(scope="module")
def samples(params, contexts):
    """2,048 sentences under limits from just enough to plenty, a third of them absent."""
    rng = np.random.default_rng(1)
    simple = exact_costs(MacroArchitecture((Stage(0, 8, 2, 1),), 8))
    limits = np.ceil(simple * np.exp(rng.uniform(0, 5, (256, 3)) * rng.integers(0, 2, (256, 1))))
    limits[rng.random((256, 3)) < 1 / 3] = np.inf
    limits = jnp.asarray(limits, jnp.float32)
    parts = [sample(params, i, contexts, limits[64 * i : 64 * i + 64]) for i in range(4)]
    tokens, log_probs, fits = (jnp.concatenate(part) for part in zip(*parts, strict=True))
    assert fits.all()
    return limits, tokens, log_probs


def test_samples_keep_rules_and_limits(samples):
    limits, tokens, _ = samples
    limits = np.repeat(np.asarray(limits), 8, axis=0)
    sentences = [language.decode(row, VOCABULARY) for row in np.asarray(tokens)]
    costs = np.stack([exact_costs(sentence) for sentence in sentences])
    assert (costs > limits).any(1).sum() == 0
    # The limits do bind, and do not choke: many sentences use over half of one, many go on.
    assert ((costs / limits).max(1) > 0.5).mean() > 0.3
    assert np.mean([len(sentence.stages) > 1 for sentence in sentences]) > 0.2


def test_log_probs_of_samples_are_the_teacher_forced_ones(params, contexts, samples):
    limits, tokens, log_probs = samples
    contexts, limits = jnp.repeat(contexts, 8, axis=0), jnp.repeat(limits[:64], 8, axis=0)
    again = forced(params, contexts, tokens[:512], limits)
    np.testing.assert_allclose(log_probs[:512], again, atol=1e-4)
    assert (log_probs < 0).all()


def test_log_prob_is_that_of_a_distribution(params, contexts):
    # So tight that one stage of 8 channels, stride 2, final width 8 is all that fits; what is
    # left to choose are five clusters, and their probabilities sum to one.
    sentences = [MacroArchitecture((Stage(i % 5, 8, 2, 1),), 8) for i in range(512)]
    tokens = jnp.asarray(language.encode_batch(sentences, VOCABULARY))
    limits = jnp.tile(jnp.asarray(exact_costs(sentences[0]), jnp.float32), (512, 1))
    contexts = jnp.tile(contexts[:1], (512, 1))
    log_probs = forced(params, contexts, tokens, limits)[:5]
    np.testing.assert_allclose(jnp.exp(log_probs).sum(), 1, atol=1e-5)
    assert log_probs.max() - log_probs.min() > 0.1
    assert (forced(params, contexts, tokens, limits - 1) == -jnp.inf).all()


def test_limits_below_the_cheapest_are_said_not_to_fit(params, contexts):
    limits = jnp.full((64, 3), jnp.inf).at[1, 0].set(300.0)
    tokens, _, fits = sample(params, 0, contexts, limits)
    np.testing.assert_array_equal(fits, np.arange(512) // 8 != 1)
    assert (np.asarray(tokens)[8:16] == language.PAD).all()
    assert language.decode_batch(np.asarray(tokens), VOCABULARY).repeats[8:16].max() == 0


def test_each_request_has_its_own_task(params, contexts, samples):
    """Sizes and classes of a request bind its own sentences, and no other's: the other rows write
    what they write without it."""
    sizes, classes = np.full(512, 16), np.full(512, 10)
    sizes[:256], classes[:256] = 2, 300
    head = jax.tree_util.Partial(_head, jnp.asarray(classes, jnp.float32))
    bounds = CostBounds(_stem, _stage, head)
    limits = samples[0][:64]
    mixed = sample(params, 0, contexts, limits, bounds=bounds, heights=sizes, widths=sizes)
    tokens, fits = np.asarray(mixed.tokens), np.asarray(mixed.fits)
    np.testing.assert_array_equal(tokens[256:], samples[1][256:512])
    assert 0 < fits[:256].mean() < 1  # 300 classes: some are refused
    limits = np.repeat(np.asarray(limits), 8, axis=0)[:256][fits[:256]]
    written = [language.decode(row, VOCABULARY) for row in tokens[:256][fits[:256]]]
    costs = np.stack([exact_costs(one, 2, 300) for one in written])
    assert (costs <= limits).all()


def test_same_key_same_sentences_and_cold_is_greedy(params, contexts):
    def draw(seed, temperature):
        limits = jnp.full((64, 3), jnp.inf)
        return np.asarray(sample(params, seed, contexts, limits, temperature)[0])

    np.testing.assert_array_equal(draw(0, 1.0), draw(0, 1.0))
    assert (draw(0, 1.0) != draw(1, 1.0)).any(1).all()
    np.testing.assert_array_equal(draw(0, 1e-6), draw(1, 1e-6))


def test_logits_are_causal(params, contexts):
    tokens = jax.random.randint(jax.random.key(3), (2, VOCABULARY.length), 0, VOCABULARY.size)
    before = forward(params, contexts[:2], tokens)
    for place in (0, 7, VOCABULARY.length - 2):
        changed = tokens.at[:, place].set((tokens[:, place] + 1) % VOCABULARY.size)
        after = forward(params, contexts[:2], changed)
        np.testing.assert_array_equal(before[:, : place + 1], after[:, : place + 1])
        assert (jnp.abs(before - after)[:, place + 1 :].max(-1) > 1e-4).all()


def test_cached_decoding_equals_the_whole_pass(params, contexts):
    tokens = jax.random.randint(jax.random.key(4), (2, VOCABULARY.length), 0, VOCABULARY.size)
    whole = forward(params, contexts[:2], tokens)
    model = macro.MacroTransformer(CONFIG)

    def step(cache, place):
        offset = CONFIG.num_prefix + place
        args = tokens[:, place], offset, cache
        logits, cache = model.apply({"params": params}, *args, method="step")
        return cache, logits

    cache = macro.empty_cache(2, CONFIG.num_prefix + VOCABULARY.length, CONFIG)
    begin = jax.jit(lambda *args: model.apply({"params": params}, *args, method="begin"))
    first, cache = begin(contexts[:2], cache)
    _, rest = jax.lax.scan(step, cache, jnp.arange(VOCABULARY.length - 1))
    np.testing.assert_allclose(first, whole[:, 0], atol=1e-5)
    np.testing.assert_allclose(rest.transpose(1, 0, 2), whole[:, 1:], atol=1e-5)


def test_drop_takes_value_and_flag_together(contexts):
    many = jnp.tile(contexts + 10, (50, 1))  # no feature is 0 by itself
    kept = np.asarray(macro.drop(jax.random.key(5), many, 0.25)) != 0
    assert kept[:, : language.TASK_FEATURES].all()
    pairs = kept[:, language.TASK_FEATURES :].reshape(len(many), -1, 2)
    np.testing.assert_array_equal(pairs[..., 0], pairs[..., 1])
    np.testing.assert_allclose(pairs[..., 0].mean(0), 0.75, atol=0.04)  # 5 standard errors
    np.testing.assert_allclose(np.corrcoef(pairs[..., 0].T), np.eye(pairs.shape[1]), atol=0.1)


def test_loss_ignores_padding_and_starts_near_uniform(contexts):
    params = macro.init(jax.random.key(6), CONFIG)
    sentences = [MacroArchitecture((Stage(1, 32, 1, 1),) * n, 64) for n in (1, 6)]
    tokens = jnp.asarray(language.encode_batch(sentences, VOCABULARY))

    @jax.jit
    def loss(rows):
        key, args = jax.random.key(7), (contexts[rows], tokens[rows])
        return macro.loss(params, key, *args, config=CONFIG, drop_probability=0.0)

    short, long, both = (loss(np.array(rows)) for rows in ([0, 0], [1, 1], [0, 1]))
    np.testing.assert_allclose(both, (6 * short + 26 * long) / 32, rtol=1e-5)
    assert abs(both - np.log(VOCABULARY.size)) < 0.5


def test_learns_to_follow_a_budget():
    # Sentences whose every width is c, and whose budget says 100 c params.
    rng = np.random.default_rng(8)
    widths = 8 * np.round(2 ** rng.uniform(0, 5, 512)).astype(int)
    sentences = [
        MacroArchitecture((Stage(0, int(c), 1, 1), Stage(1, int(c), 2, 2)), int(c)) for c in widths
    ]
    tokens = jnp.asarray(language.encode_batch(sentences, VOCABULARY))
    features = [language.context_features(TASK, Budget(params=int(100 * c))) for c in widths]
    features, tx = jnp.stack(features), optax.adam(3e-3)

    def train_step(carry, key):
        params, opt_state = carry
        batch_key, drop_key = jax.random.split(key)
        rows = jax.random.choice(batch_key, 512, (64,))
        args = drop_key, features[rows], tokens[rows]
        value, grads = jax.value_and_grad(macro.loss)(params, *args, config=CONFIG)
        with jax.numpy_dtype_promotion("standard"):  # optax is not strict
            updates, opt_state = tx.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    params = macro.init(jax.random.key(8), CONFIG)
    train = jax.jit(lambda carry, keys: jax.lax.scan(train_step, carry, keys))
    (params, _), losses = train((params, tx.init(params)), jax.random.split(jax.random.key(9), 150))
    assert losses[0] > 5 and losses[-20:].mean() < 1.5

    asked = np.repeat(np.array([16, 64, 128, 192]), 16)
    requests = [language.context_features(TASK, Budget(params=int(100 * c))) for c in asked]
    drawn, *_ = sample(params, 10, jnp.stack(requests), jnp.full((64, 3), jnp.inf))
    drawn = [language.decode(row, VOCABULARY) for row in np.asarray(drawn)]
    widths = np.array([sentence.stages[0].channels for sentence in drawn])
    misses = np.abs(np.log2(widths / np.repeat(asked, 8))).reshape(4, 128)
    assert (np.median(misses, axis=1) < 0.6).all(), misses
