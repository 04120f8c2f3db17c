"""The rules and limits of macro sentences: what the masks allow, to the last parameter."""

import jax
import jax.numpy as jnp
import numpy as np

from nasgen.models import macro_language as language
from nasgen.models import macro_rules as rules
from nasgen.models.macro_language import Vocabulary
from nasgen.models.macro_rules import CostBounds
from nasgen.types import MAX_CELLS, MacroArchitecture, Stage

VOCABULARY = Vocabulary(num_clusters=5, max_stages=6)
SIZE = 16.0  # pixels


def random_macro(rng, size):
    """A macro architecture with stride 2 only while two pixels are left."""
    while True:
        stages, pixels = [], size
        for _ in range(rng.integers(1, VOCABULARY.max_stages + 1)):
            stride = int(rng.integers(1, 3)) if pixels >= 2 else 1
            pixels = -(-pixels // stride)
            cluster = int(rng.integers(VOCABULARY.num_clusters))
            stages.append(Stage(cluster, _width(rng), stride, int(rng.integers(1, 5))))
        if sum(stage.repeats for stage in stages) <= MAX_CELLS:
            return MacroArchitecture(tuple(stages), _width(rng))


def _width(rng):
    return 8 * int(rng.integers(1, 129))


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


def _head(channels, final_width, height, width):
    params = channels * final_width + 12 * final_width + 10
    macs = (channels * height * width + 10) * final_width
    return _costs(params, macs, 8 * final_width * height * width + 40)


BOUNDS = CostBounds(_stem, _stage, _head)


def exact_costs(macro, size=SIZE):
    """The made-up bounds again, in plain integers: params, MACs, activation memory."""
    size = int(size)
    width = macro.stages[0].channels
    total = np.array([29 * width, 27 * width * size**2, 8 * width * size**2], np.int64)
    for stage in macro.stages:
        size = -(-size // stage.stride)
        projected = width * stage.channels if stage.stride > 1 or width != stage.channels else 0
        cells = stage.repeats * stage.channels
        total += np.array([projected + 2 * cells, projected * size**2, 4 * cells * size**2])
        width = stage.channels
    final = macro.final_width
    params, macs = (width + 12) * final + 10, (width * size**2 + 10) * final
    return total + np.array([params, macs, 8 * final * size**2 + 40])


@jax.jit
def masks_of_tokens(tokens, limits, size=SIZE):
    """The last state, and `[length, size]`, the tokens allowed at each place."""

    def step(state, place_and_token):
        mask = rules.allowed(state, place_and_token[0], BOUNDS, VOCABULARY)
        return rules.advance(state, *place_and_token, BOUNDS, VOCABULARY), mask

    state = rules.start(limits, jnp.float32(size), jnp.float32(size))
    return jax.lax.scan(step, state, (jnp.arange(VOCABULARY.length), tokens))


def test_state_counts_the_costs():
    rng = np.random.default_rng(1)
    for _ in range(50):
        macro = random_macro(rng, SIZE)
        tokens = language.encode(macro, VOCABULARY)
        state, mask = masks_of_tokens(tokens, jnp.full(3, jnp.inf))
        np.testing.assert_allclose(state.cost, exact_costs(macro), rtol=1e-6)
        assert state.done and state.cells == sum(stage.repeats for stage in macro.stages)
        real = tokens != language.PAD
        assert np.asarray(mask)[np.arange(len(tokens)), tokens][real].all()


def test_a_limit_is_kept_to_the_last_parameter():
    # Under these bounds the simplest completion of every prefix has the fewest params, so a
    # sentence may be written exactly while its own params are within the limit.
    rng = np.random.default_rng(2)
    for _ in range(50):
        macro = random_macro(rng, SIZE)
        tokens = language.encode(macro, VOCABULARY)
        real = tokens != language.PAD
        params = float(exact_costs(macro)[0])
        for limit, fits in ((params, True), (params - 1, False)):
            limits = jnp.asarray([limit, jnp.inf, jnp.inf], jnp.float32)
            mask = np.asarray(masks_of_tokens(tokens, limits)[1])
            assert mask[np.arange(len(tokens)), tokens][real].all() == fits


def test_rules_by_hand():
    ids = VOCABULARY

    def masks_of(macro, size=SIZE):
        tokens = jnp.asarray(language.encode(macro, VOCABULARY))
        return np.asarray(masks_of_tokens(tokens, jnp.full(3, jnp.inf), size)[1])

    # 2 pixels, halved once: 1 pixel, where stride 2 is no longer allowed.
    mask = masks_of(MacroArchitecture((Stage(0, 8, 2, 1), Stage(0, 8, 1, 1)), 8), 2.0)
    np.testing.assert_array_equal(mask[2, ids.strides : ids.repeats], [True, True])
    np.testing.assert_array_equal(mask[6, ids.strides : ids.repeats], [True, False])
    assert mask[0, : ids.end].all() and not mask[0, ids.end] and mask[4, ids.end]
    assert mask[1, ids.channels : ids.strides].all() and mask[1].sum() == 128
    assert mask[9, ids.final_widths :].all() and mask[9].sum() == 128
    # 18 cells leave room for one more.
    stages = tuple(Stage(0, 8, 1, repeats) for repeats in (4, 4, 4, 4, 2, 1))
    mask = masks_of(MacroArchitecture(stages, 8))
    np.testing.assert_array_equal(mask[23, ids.repeats : ids.final_widths], [1, 0, 0, 0])
    # After max_stages (6), or 19 cells, END is all there is.
    assert mask[24].sum() == 1 and mask[24, ids.end]
    stages = tuple(Stage(0, 8, 1, repeats) for repeats in (4, 4, 4, 4, 3))
    mask = masks_of(MacroArchitecture(stages, 8))
    assert mask[20].sum() == 1 and mask[20, ids.end]


def test_what_is_below_the_cheapest_is_not_feasible():
    simple = [exact_costs(MacroArchitecture((Stage(0, 8, stride, 1),), 8)) for stride in (1, 2)]
    least = np.minimum(*simple)
    assert (least != simple[0]).any() and (least != simple[1]).any()  # not all in one network

    def feasible(limits):
        size = jnp.float32(SIZE)
        state = rules.start(jnp.asarray(limits, jnp.float32), size, size)
        return bool(rules.feasible(state, BOUNDS))

    assert feasible(simple[0]) and feasible(simple[1]) and not feasible(least)
    assert not feasible([np.inf, least[1] - 1, np.inf])
