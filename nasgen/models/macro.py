"""The second level: a transformer p(stages, final width | task, budgets, qualities).

A decoder-only transformer (pre-LN, learned positions) writes a sentence of `macro_language` behind
a prefix: a few embeddings of the request, an MLP of its features. Any subset of the budgets and the
qualities may be given, as they are dropped at random in training. `sample` masks every token after
which the rules or the limits could not be kept, so each sentence it writes is a network whose lower
bounds fit the budget.

The place of the language model of "Towards Neural Architecture Search through Hierarchical
Generative Modeling" (Xiang et al., ICML 2024), which completed text; this one knows only its own
few hundred tokens. Token embeddings are tied with the output, and add to a free vector for each
token bumps over log2 of the channels, so that near widths are near from the start.

Shapes: contexts `[batch, NUM_FEATURES]`, tokens `[batch, vocabulary.length]`, `PAD` behind the end.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, Num, PyTree

from nasgen.models import macro_rules as rules
from nasgen.models.macro_language import (
    NUM_FEATURES,
    NUM_WIDTHS,
    OPTIONAL_FEATURES,
    PAD,
    TASK_FEATURES,
    Vocabulary,
)
from nasgen.models.macro_rules import CostBounds
from nasgen.precision import full_float32
from nasgen.types import CHANNEL_STEP

NUM_BUMPS = 16


AnyArray = Array | np.ndarray


class MacroConfig(NamedTuple):
    """Sizes of the transformer.

    num_prefix: embeddings of the request before the first token.
    """

    vocabulary: Vocabulary
    width: int = 128
    depth: int = 4
    heads: int = 4
    mlp_ratio: int = 4
    num_prefix: int = 2


class Cache(NamedTuple):
    """Keys and values of all places, an array for each layer."""

    keys: tuple[Float[Array, "batch heads places head_width"], ...]
    values: tuple[Float[Array, "batch heads places head_width"], ...]


def _bumps(vocabulary: Vocabulary) -> np.ndarray:
    """`[size, NUM_BUMPS]`: Gaussian bumps at log2(width), for tokens that are widths; else 0."""
    log_widths = np.log2(CHANNEL_STEP * (1 + np.arange(NUM_WIDTHS)))
    centres = np.linspace(log_widths[0], log_widths[-1], NUM_BUMPS)
    spacing = centres[1] - centres[0]
    bumps = np.exp(-0.5 * ((log_widths[:, None] - centres) / spacing) ** 2)
    table = np.zeros((vocabulary.size, NUM_BUMPS), np.float32)
    for first in (vocabulary.channels, vocabulary.final_widths):
        table[first : first + NUM_WIDTHS] = bumps
    return table


class Block(nn.Module):
    """Pre-LN attention and MLP over `x [batch, new, width]`, whose first place is `offset`.

    Reads and returns the keys and values `[batch, heads, places, head_width]` of all places.
    """

    config: MacroConfig

    @nn.compact
    def __call__(self, x, offset, keys, values):
        config, (batch, new, width) = self.config, x.shape
        head_width = width // config.heads
        y = nn.LayerNorm(name="attention_norm")(x)
        y = nn.Dense(3 * width, name="qkv")(y).reshape(batch, new, 3, config.heads, head_width)
        query, key, value = y.transpose(2, 0, 3, 1, 4)
        keys = jax.lax.dynamic_update_slice_in_dim(keys, key, offset, axis=2)
        values = jax.lax.dynamic_update_slice_in_dim(values, value, offset, axis=2)
        seen = jnp.arange(keys.shape[2])[None] <= offset + jnp.arange(new)[:, None]
        scores = jnp.einsum("bhqd,bhkd->bhqk", query / head_width**0.5, keys)
        scores = jnp.where(seen[None, None], scores, -jnp.inf)
        mixed = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores), values)
        mixed = mixed.transpose(0, 2, 1, 3).reshape(batch, new, width)
        x = x + nn.Dense(width, name="attention_out")(mixed)
        y = nn.LayerNorm(name="mlp_norm")(x)
        y = nn.gelu(nn.Dense(config.mlp_ratio * width, name="mlp_in")(y))
        return x + nn.Dense(width, name="mlp_out")(y), keys, values


class MacroTransformer(nn.Module):
    """The network of this module; use it through `init`, `logits`, `loss` and `sample`."""

    config: MacroConfig

    def setup(self):
        config = self.config
        small = nn.initializers.normal(0.02)
        places = config.num_prefix + config.vocabulary.length
        self.token_table = self.param("tokens", small, (config.vocabulary.size, config.width))
        self.bump_table = self.param("bumps", small, (NUM_BUMPS, config.width))
        self.positions = self.param("positions", small, (places, config.width))
        self.prefix_in = nn.Dense(config.width)
        self.prefix_out = nn.Dense(config.num_prefix * config.width)
        self.blocks = [Block(config) for _ in range(config.depth)]
        self.norm = nn.LayerNorm()
        self.bias = self.param("bias", nn.initializers.zeros, (config.vocabulary.size,))

    def __call__(self, contexts, tokens):
        """Logits `[batch, length, size]`; place `i` sees the request and the tokens before `i`."""
        x = jnp.concatenate([self.prefix(contexts), self.embed(tokens[:, :-1])], axis=1)
        cache = empty_cache(len(x), x.shape[1], self.config)
        x, _ = self.transform(x, 0, cache)
        return self.read_out(x[:, self.config.num_prefix - 1 :])

    def table(self):
        return self.token_table + _bumps(self.config.vocabulary) @ self.bump_table

    def prefix(self, contexts):
        x = self.prefix_out(nn.gelu(self.prefix_in(contexts)))
        return x.reshape(len(contexts), self.config.num_prefix, self.config.width)

    def embed(self, tokens):
        """Embeddings of tokens; `PAD` gets those of token 0, which no real token sees."""
        return self.table()[jnp.maximum(tokens, 0)] * self.config.width**0.5

    def transform(self, x, offset, cache):
        positions = jax.lax.dynamic_slice_in_dim(self.positions, offset, x.shape[1])
        x = x + positions[None]
        keys, values = [], []
        for layer, block in enumerate(self.blocks):
            x, key, value = block(x, offset, cache.keys[layer], cache.values[layer])
            keys.append(key)
            values.append(value)
        return x, Cache(tuple(keys), tuple(values))

    def read_out(self, x):
        return self.norm(x) @ self.table().T + self.bias[None, None]

    def step(self, tokens, offset, cache):
        """Logits `[batch, size]` behind the token at place `offset`, and the cache with it."""
        x, cache = self.transform(self.embed(tokens[:, None]), offset, cache)
        return self.read_out(x)[:, 0], cache

    def begin(self, contexts, cache):
        """Logits `[batch, size]` of the first token, and the cache with the prefix."""
        x, cache = self.transform(self.prefix(contexts), 0, cache)
        return self.read_out(x[:, -1:])[:, 0], cache


def empty_cache(batch: int, places: int, config: MacroConfig) -> Cache:
    shape = (batch, config.heads, places, config.width // config.heads)
    zeros = tuple(jnp.zeros(shape) for _ in range(config.depth))
    return Cache(zeros, zeros)


def init(key: Key[Array, ""], config: MacroConfig) -> PyTree:
    """Fresh parameters, a plain dict. Raises `ValueError` where `heads` do not divide `width`."""
    if config.width % config.heads:
        raise ValueError(
            f"`config.width` must be a multiple of `config.heads`; "
            f"got {config.width} and {config.heads}."
        )
    contexts = jnp.zeros((1, NUM_FEATURES))
    tokens = jnp.zeros((1, config.vocabulary.length), jnp.int32)
    return jax.jit(MacroTransformer(config).init)(key, contexts, tokens)["params"]


@full_float32
def logits(
    params: PyTree,
    contexts: Float[AnyArray, "batch features"],
    tokens: Int[Array, "batch length"],
    *,
    config: MacroConfig,
) -> Float[Array, "batch length size"]:
    """Unmasked logits of every token, given the request and the tokens before it."""
    return MacroTransformer(config).apply({"params": params}, contexts, tokens)


def drop(
    key: Key[Array, ""], contexts: Float[AnyArray, "batch features"], probability: float
) -> Float[Array, "batch features"]:
    """Contexts with each budget, the steps and each quality, independently, absent at random."""
    shape = (len(contexts), len(OPTIONAL_FEATURES))
    keep = jax.random.bernoulli(key, 1 - probability, shape)
    keep = jnp.repeat(keep, 2, axis=1, total_repeat_length=2 * shape[1])
    optional = jnp.where(keep, contexts[:, TASK_FEATURES:], 0)
    return jnp.concatenate([contexts[:, :TASK_FEATURES], optional], axis=1)


def loss(
    params: PyTree,
    key: Key[Array, ""],
    contexts: Float[AnyArray, "batch features"],
    tokens: Int[Array, "batch length"],
    *,
    config: MacroConfig,
    drop_probability: float = 0.1,
) -> Float[Array, ""]:
    """Next-token cross-entropy in nats, the mean over all tokens that are not padding."""
    contexts = drop(key, contexts, drop_probability)
    real = (tokens != PAD).astype(jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(
        logits(params, contexts, tokens, config=config), jnp.maximum(tokens, 0)
    )
    return (real * losses).sum() / jnp.maximum(real.sum(), 1)


# ---- masked decoding ----


class Sentences(NamedTuple):
    """tokens: `PAD` behind the end. log_probs: under the masked distribution, see `log_prob`.
    fits: whether the limits left room for any network; where not, there are no tokens."""

    tokens: Int[Array, "batch length"]
    log_probs: Float[Array, " batch"]
    fits: Bool[Array, " batch"]


def sample(
    params: PyTree,
    keys: Key[Array, " batch"],
    contexts: Float[AnyArray, "batch features"],
    limits: Float[AnyArray, "batch 3"],
    *,
    bounds: CostBounds,
    heights: Num[AnyArray, " batch"],
    widths: Num[AnyArray, " batch"],
    config: MacroConfig,
    temperature: float = 1.0,
) -> Sentences:
    """A sentence for each request, that keeps the rules and, by the bounds, the limits.

    keys: a row's sentence depends on its own key alone, not on the other rows.
    limits: params, MACs, activation memory, of each request; inf where there is no budget.
    bounds: of each request's task: arrays `[batch]` in their `Partial`s.
    heights, widths: of its input (with `bounds`, the task).

    Compiled once for a config, a number of rows and functions in `bounds`. Costs are summed in
    float32: count the exact costs of what comes back.
    """
    if temperature <= 0:
        raise ValueError(f"`temperature` must be positive; got {temperature}.")
    arrays = (jnp.asarray(x, jnp.float32) for x in (contexts, limits, heights, widths))
    bounds, temperature = _as_pytree(bounds), jnp.float32(temperature)
    return Sentences(*_sample(params, keys, *arrays, bounds, temperature, config))


def log_prob(
    params: PyTree,
    contexts: Float[AnyArray, "batch features"],
    tokens: Int[Array, "batch length"],
    limits: Float[AnyArray, "batch 3"],
    *,
    bounds: CostBounds,
    heights: Num[AnyArray, " batch"],
    widths: Num[AnyArray, " batch"],
    config: MacroConfig,
    temperature: float = 1.0,
) -> Float[Array, " batch"]:
    """Log-probability of sentences under the masked distribution `sample` draws from.

    -inf where a sentence breaks a rule or a limit.
    """
    all_logits = logits(params, contexts, tokens, config=config)
    one = partial(_masks, vocabulary=config.vocabulary)
    sizes = (jnp.asarray(size, jnp.float32) for size in (heights, widths))
    mask = jax.vmap(one)(tokens, limits, *sizes, _as_pytree(bounds))
    log_probs = jax.nn.log_softmax(jnp.where(mask, all_logits / temperature, -jnp.inf))
    log_probs = jnp.where(mask, log_probs, -jnp.inf)  # no nan where nothing was allowed
    chosen = jnp.take_along_axis(log_probs, jnp.maximum(tokens, 0)[:, :, None], axis=2)[:, :, 0]
    return jnp.where(tokens == PAD, 0.0, chosen).sum(1)


def _as_pytree(bounds: CostBounds) -> CostBounds:
    """Bounds that may cross `jit`: their functions static, the numbers of a `Partial` traced."""
    partial_type = jax.tree_util.Partial
    return CostBounds(*(f if isinstance(f, partial_type) else partial_type(f) for f in bounds))


def _masks(tokens, limits, height, width, bounds, vocabulary) -> Bool[Array, "length size"]:
    """Which tokens were allowed at each place of a sentence."""

    def step(state, place_and_token):
        place, token = place_and_token
        mask = rules.allowed(state, place, bounds, vocabulary)
        return rules.advance(state, place, token, bounds, vocabulary), mask

    state = rules.start(limits, height, width)
    return jax.lax.scan(step, state, (jnp.arange(len(tokens)), tokens))[1]


def _draw(key, place, log_p: Float[Array, " size"]) -> Int[Array, ""]:
    """A token of its probability, by one random number: a number for each token would take longer
    than the transformer."""
    cumulated = jnp.cumsum(jnp.exp(log_p))
    drawn = jax.random.uniform(jax.random.fold_in(key, place)) * cumulated[-1]
    above = cumulated > drawn  # the first such token raised the sum, so it is allowed
    return jnp.where(above.any(), above.argmax(), log_p.argmax())


@partial(jax.jit, static_argnames="config")
@full_float32
def _sample(params, keys, contexts, limits, heights, widths, bounds, temperature, config):
    """`sample`; also whether each row's limits leave room at all."""
    vocabulary, batch = config.vocabulary, len(contexts)
    model = MacroTransformer(config)

    def apply(*args, method):
        return model.apply({"params": params}, *args, method=method)

    allowed = jax.vmap(lambda s, b, place: rules.allowed(s, place, b, vocabulary), (0, 0, None))
    advance = jax.vmap(
        lambda s, b, place, token: rules.advance(s, place, token, b, vocabulary), (0, 0, None, 0)
    )
    draw = jax.vmap(_draw, (0, None, 0))

    def unfinished(carry):
        place, states, *_ = carry
        return (place < vocabulary.length) & ~states.done.all()

    def step(carry):
        place, states, next_logits, log_probs, cache, tokens = carry
        masked = jnp.where(allowed(states, bounds, place), next_logits / temperature, -jnp.inf)
        log_p = jax.nn.log_softmax(masked)
        token = draw(keys, place, log_p).astype(jnp.int32)
        chosen = jnp.take_along_axis(log_p, token[:, None], axis=1)[:, 0]
        log_probs = log_probs + jnp.where(states.done, 0.0, chosen)
        tokens = tokens.at[place].set(jnp.where(states.done, PAD, token))
        states = advance(states, bounds, place, token)
        next_logits, cache = apply(token, config.num_prefix + place, cache, method="step")
        return place + 1, states, next_logits, log_probs, cache, tokens

    states = jax.vmap(rules.start)(limits, heights, widths)
    fits = jax.vmap(rules.feasible)(states, bounds)
    states = states._replace(done=~fits)
    cache = empty_cache(batch, config.num_prefix + vocabulary.length, config)
    first, cache = apply(contexts, cache, method="begin")
    tokens = jnp.full((vocabulary.length, batch), PAD, jnp.int32)
    carry = jnp.int32(0), states, first, jnp.zeros(batch), cache, tokens
    *_, log_probs, _, tokens = jax.lax.while_loop(unfinished, step, carry)
    return tokens.T, log_probs, fits
