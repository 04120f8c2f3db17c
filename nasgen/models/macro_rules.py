"""The rules and limits of a macro sentence that is being written: a state machine for masking.

`start`, `allowed` and `advance` follow one sentence of `macro_language` (`vmap` them): they say
which tokens keep it within the rules and within the limits on params, MACs and activation memory,
so that whatever is sampled under the mask fits (by the lower bounds it is given). A state holds
scalars, and costs and limits `[3]`; a mask is `[vocabulary.size]`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nasgen.models.macro_language import NUM_WIDTHS, STAGE_TOKENS, STRIDES, Vocabulary
from nasgen.types import CHANNEL_STEP, MAX_CELLS, MAX_REPEATS

_ABOVE = np.nextafter(np.float32(1), np.float32(2))


class CostBounds(NamedTuple):
    """Lower bounds on the costs (params, MACs, activation memory) of a network's parts.

    Three callables made of `jnp` functions, for one task (input channels, classes, stem stride).
    They take and return float32 (ints would overflow) and broadcast: costs have one last axis of
    three more than the arguments. Wrapped as `jax.tree_util.Partial(f, number_of_the_task)`,
    bounds of another task do not compile anew.

    stem: `(channels, height, width) -> cost, height, width`.
    stage: `(in_channels, channels, stride, repeats, height, width) -> cost, height, width`, a lower
        bound over every cell that may be drawn.
    head: `(channels, final_width, height, width) -> cost`.
    """

    stem: Callable
    stage: Callable
    head: Callable


class State(NamedTuple):
    """What the rules need to know of the sentence so far: scalars, and `cost` and `limits` [3]."""

    limits: Array  # inf: no budget
    cost: Array  # of the stem and the whole stages
    height: Array  # at the end of the last whole stage (before the first: of the input)
    width: Array
    channels: Array  # of the last whole stage; 0: none yet
    cells: Array
    stages: Array
    stage_channels: Array  # of the stage that is being written
    stage_stride: Array
    ended: Array  # END is written
    done: Array  # the final width is written


def start(limits: Float[Array, "3"], height: Float[Array, ""], width: Float[Array, ""]) -> State:
    """The state before the first token, for an input of `height` x `width`."""
    zero, no = jnp.float32(0), jnp.bool_(False)
    # Sums of whole numbers below 2^24 are exact in float32; above, leave room for rounding.
    limits = jnp.where(limits < 2.0**23, limits, limits * (1 - 2e-6))
    return State(
        limits, jnp.zeros(3), height, width, zero, zero, zero, zero, jnp.float32(1), no, no
    )


def _before(state: State, channels: Array, bounds: CostBounds) -> tuple:
    """Cost, input channels, height, width where a stage of `channels` would begin."""
    first = state.channels == 0
    cost, height, width = bounds.stem(channels, state.height, state.width)
    return (
        jnp.where(first, cost, jnp.broadcast_to(state.cost, (*channels.shape, 3))),
        jnp.where(first, channels, state.channels),
        jnp.where(first, height, state.height),
        jnp.where(first, width, state.width),
    )


def _completions(
    state: State, channels: Array, stride: Array, repeats: Array, bounds: CostBounds
) -> Float[Array, "*choices 3"]:
    """Cost of the sentence `..., (channels, stride, repeats), END, 8`; inf if it breaks a rule."""
    channels, stride, repeats = jnp.broadcast_arrays(channels, stride, repeats)
    cost, in_channels, height, width = _before(state, channels, bounds)
    legal = (stride == 1) | (jnp.maximum(height, width) >= 2)
    legal &= state.cells + repeats <= MAX_CELLS
    stage_cost, height, width = bounds.stage(in_channels, channels, stride, repeats, height, width)
    head_cost = bounds.head(channels, jnp.float32(CHANNEL_STEP), height, width)
    return jnp.where(legal[..., None], cost + stage_cost + head_cost, jnp.inf)


def _use(costs: Float[Array, "*choices 3"], state: State) -> Float[Array, "*choices"]:
    """The largest part of a limit that `costs` use: at most 1 where all of them fit. The costs say
    so themselves: on GPU, what is divided by itself may be more than 1."""
    limits = jnp.broadcast_to(state.limits, costs.shape)
    part = costs / limits
    part = jnp.where(costs <= limits, jnp.minimum(part, 1), jnp.maximum(part, _ABOVE))
    used = jnp.where(jnp.isinf(limits) & jnp.isfinite(costs), 0.0, part)
    return jnp.where(jnp.isinf(costs), jnp.inf, used).max(-1)


def _widths() -> Float[Array, " widths"]:
    return CHANNEL_STEP * (1.0 + jnp.arange(NUM_WIDTHS, dtype=jnp.float32))


def _strides() -> Float[Array, " strides"]:
    return jnp.asarray(STRIDES, jnp.float32)


def _next_stages(state: State, bounds: CostBounds) -> Float[Array, "widths strides 3"]:
    """`_completions` by one stage more, of every width and stride, repeated once."""
    channels, stride = _widths()[:, None], _strides()[None]
    return _completions(state, channels, stride, jnp.float32(1), bounds)


def _fitting(use: Float[Array, " choices"]) -> Bool[Array, " choices"]:
    """Choices that fit. Some choice does, by the invariant of `allowed`, and the thriftiest counts
    as one though its sum be rounded otherwise than a token ago. (`start` left room for that.)"""
    least = use.min()
    return use <= jnp.where(least <= 1 + 1e-6, jnp.maximum(least, 1.0), 1.0)


def allowed(
    state: State, place: Int[Array, ""], bounds: CostBounds, vocabulary: Vocabulary
) -> Bool[Array, " size"]:
    """Which tokens may stand at `place` (all of them once the sentence is done).

    A token is allowed if one of the sentence's *simple completions* keeps the rules and the limits:
    the rest of the stage with any channels and stride and repeats 1, END, final width 8.

    Invariant: while a simple completion of the prefix fits, some next token is allowed. Each simple
    completion begins with one token, and is then a simple completion of the prefix with that token;
    so the prefix's completions are the union of those of its next tokens. `feasible` is the
    invariant at the start, every allowed token keeps it, and the last one, final width 8, is
    itself the completion. Where a whole stage is written, END is such a token: its completion is
    the one that let the repeats through.
    """

    def mask(clusters=False, end=False, channels=False, strides=False, repeats=False, finals=False):
        sizes = (vocabulary.num_clusters, 1, NUM_WIDTHS, len(STRIDES), MAX_REPEATS, NUM_WIDTHS)
        blocks = (clusters, end, channels, strides, repeats, finals)
        pairs = zip(blocks, sizes, strict=True)
        return jnp.concatenate([jnp.broadcast_to(jnp.asarray(b), (n,)) for b, n in pairs])

    def cluster_or_end():
        fits = _use(_next_stages(state, bounds), state).min() <= 1
        fits &= state.stages < vocabulary.max_stages
        begun = state.stages > 0
        return mask(clusters=fits | ~begun, end=begun)

    def channels_or_final():
        head = bounds.head(state.channels, _widths(), state.height, state.width)
        finals = _fitting(_use(jnp.broadcast_to(state.cost, head.shape) + head, state))
        channels = _fitting(_use(_next_stages(state, bounds), state).min(1))
        return mask(channels=channels & ~state.ended, finals=finals & state.ended)

    def stage_choice(stride, repeats):
        costs = _completions(state, state.stage_channels, stride, repeats, bounds)
        return _fitting(_use(costs, state))

    def stride():
        return mask(strides=stage_choice(_strides(), jnp.float32(1)))

    def repeats():
        counts = 1.0 + jnp.arange(MAX_REPEATS, dtype=jnp.float32)
        return mask(repeats=stage_choice(state.stage_stride, counts))

    kinds = [cluster_or_end, channels_or_final, stride, repeats]
    return state.done | jax.lax.switch(place % STAGE_TOKENS, kinds)


def advance(
    state: State,
    place: Int[Array, ""],
    token: Int[Array, ""],
    bounds: CostBounds,
    vocabulary: Vocabulary,
) -> State:
    """The state after an allowed `token` at `place`; a state that is done stays as it is."""

    def value(first, step=1):
        return step * (token - first + 1).astype(jnp.float32)

    def cluster_or_end():
        return state._replace(ended=token == vocabulary.end)

    def channels_or_final():
        final_width = value(vocabulary.final_widths, CHANNEL_STEP)
        head = bounds.head(state.channels, final_width, state.height, state.width)
        return state._replace(
            stage_channels=value(vocabulary.channels, CHANNEL_STEP),
            cost=jnp.where(state.ended, state.cost + head, state.cost),
            done=state.ended,
        )

    def stride():
        return state._replace(stage_stride=value(vocabulary.strides))

    def repeats():
        channels, count = state.stage_channels, value(vocabulary.repeats)
        cost, in_channels, height, width = _before(state, channels, bounds)
        stage_cost, height, width = bounds.stage(
            in_channels, channels, state.stage_stride, count, height, width
        )
        return state._replace(
            cost=cost + stage_cost,
            height=height,
            width=width,
            channels=channels,
            cells=state.cells + count,
            stages=state.stages + 1,
        )

    kinds = [cluster_or_end, channels_or_final, stride, repeats]
    after = jax.lax.switch(place % STAGE_TOKENS, kinds)
    return jax.tree.map(lambda old, new: jnp.where(state.done, old, new), state, after)


def feasible(state: State, bounds: CostBounds) -> Bool[Array, ""]:
    """Whether some network of one stage fits the limits of `state`, which is a `start`."""
    return (_use(_next_stages(state, bounds), state) <= 1).any()
