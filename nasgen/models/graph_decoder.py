"""From a latent to a cell, node by node; what comes out always obeys the rules of the space.

The latent is expanded once into one context for each of the six op slots and for the output. Step i
sees its context and the part of the cell that is written already; it chooses an op, or to stop, and
then the parents of that op; the last step chooses the parents of the output. So
p(cell | latent) = prod_i p(op_i | earlier) p(parents_i | op_i, earlier). Nodes come in the order of
`graph_order.reorder`; where all cells of a space are wired alike, in that of its digits. `decode`
chooses only what can still become a cell of the space (`CellRules`), `project` adds what may be
missing in the end: a child for a node, edges where there are too few.

All functions take one cell: latent `[latent]`, told `[2 condition]` (see `graph_vae.told`), nodes
`[8]`, adjacency `[8, 8]`, scores `[8, 8]` (log-odds of parent, child).
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nasgen.precision import full_float32
from nasgen.types import ABSENT, INPUT, MAX_NODES, OUTPUT, CellRules

Params = dict[str, Any]

_LAST = MAX_NODES - 1
_UPPER = np.triu(np.ones((MAX_NODES, MAX_NODES), bool), 1)
_PARENTS, _CHILDREN = np.triu_indices(_LAST, 1)  # edges that do not end in the output


class DecoderConfig(NamedTuple):
    """Rules and sizes. condition_dim: 0 where the decoder is told nothing. width: of the trunk.

    step_width: of a step's context. step_depth: residual layers of a step.
    """

    rules: CellRules
    latent_dim: int
    condition_dim: int
    width: int
    step_width: int
    step_depth: int


class Decoder(nn.Module):
    """The networks: `contexts` of all steps, then `op_logits` and `parent_logits` of one."""

    config: DecoderConfig

    def setup(self):
        width, step_width = self.config.width, self.config.step_width
        self.trunk_in = nn.Dense(width)
        self.trunk_norm = nn.LayerNorm()
        self.trunk_hidden = nn.Dense(width)
        self.trunk_out = nn.Dense(_LAST * step_width)
        self.prefix = nn.Dense(step_width)
        self.step_norm = nn.LayerNorm()
        self.step_layers = [
            (nn.LayerNorm(), nn.Dense(2 * step_width), nn.Dense(step_width))
            for _ in range(self.config.step_depth)
        ]
        self.op_head = nn.Dense(self.config.rules.num_ops + 1)
        self.op_embed = nn.Embed(self.config.rules.num_ops + 1, step_width)
        self.parent_hidden = nn.Dense(step_width)
        self.parent_head = nn.Dense(_LAST)

    def __call__(self, latent, told, nodes, adjacency):
        """Teacher forcing: logits `[6, ops + 1]` of the ops and scores of the edges."""
        steps = jnp.arange(1, MAX_NODES)
        hidden = jax.vmap(self.hidden, in_axes=(0, None, None, 0))(
            self.contexts(latent, told), nodes, adjacency, steps
        )
        ops = _op_classes(nodes[1:], self.config.rules.num_ops)
        scores = self.parent_logits(hidden, ops)
        return self.op_logits(hidden[:-1]), _as_matrix(scores)

    def contexts(self, latent, told):
        hidden = nn.silu(self.trunk_in(jnp.concatenate([latent, told])))
        hidden = hidden + nn.silu(self.trunk_hidden(self.trunk_norm(hidden)))
        return self.trunk_out(hidden).reshape(_LAST, self.config.step_width)

    def hidden(self, context, nodes, adjacency, step):
        """What step `step` (1..7, its node) knows; nodes and edges from there on are hidden."""
        num_ops = self.config.rules.num_ops
        ops = _op_classes(nodes[1:_LAST], num_ops)
        seen = (jnp.arange(1, _LAST) < step)[:, None]
        written = jax.nn.one_hot(ops, num_ops) * seen
        edges = adjacency[_PARENTS, _CHILDREN] & (step > _CHILDREN)
        prefix = jnp.concatenate([written.reshape(-1), edges.astype(jnp.float32)])
        hidden = nn.silu(self.step_norm(context + self.prefix(prefix)))
        for norm, up, down in self.step_layers:
            hidden = hidden + down(nn.silu(up(norm(hidden))))
        return hidden

    def op_logits(self, hidden):
        return self.op_head(hidden)

    def parent_logits(self, hidden, op):
        return self.parent_head(nn.silu(self.parent_hidden(hidden) + self.op_embed(op)))


def _op_classes(codes: Int[Array, " slots"], num_ops: int) -> Int[Array, " slots"]:
    """Classes of the op head: the op, or `num_ops` for "stop" (and for the output)."""
    return jnp.where(codes < 0, num_ops, codes.astype(jnp.int32))


def _as_matrix(rows: Float[Array, "steps parents"]) -> Float[Array, "nodes nodes"]:
    """Scores `[parent, child]` from each step's scores of its parents."""
    return jnp.pad(rows, ((1, 0), (0, 1))).T


def init(key: Array, config: DecoderConfig) -> Params:
    """Params of the decoder."""
    latent, told = jnp.zeros(config.latent_dim), jnp.zeros(2 * config.condition_dim)
    nodes = jnp.full(MAX_NODES, ABSENT)
    adjacency = jnp.zeros((MAX_NODES, MAX_NODES), bool)
    return Decoder(config).init(key, latent, told, nodes, adjacency)["params"]


@full_float32
def log_likelihoods(
    params: Params,
    latent: Float[Array, " latent"],
    told: Float[Array, " told"],
    nodes: Int[Array, " nodes"],
    adjacency: Bool[Array, "nodes nodes"],
    *,
    config: DecoderConfig,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """log p(ops | latent, told) and log p(edges | latent, told, ops) of one cell, in nats.

    Choices that are forced do not count: ops after the first stop, edges of absent nodes, and all
    edges where the space has but one wiring. What `decode` never chooses has its share, though.
    """
    op_logits, scores = Decoder(config).apply({"params": params}, latent, told, nodes, adjacency)
    classes = _op_classes(nodes[1:_LAST], config.rules.num_ops)
    log_ops = jnp.take_along_axis(jax.nn.log_softmax(op_logits), classes[:, None], 1)[:, 0]
    present = nodes != ABSENT
    log_edges = jax.nn.log_sigmoid(jnp.where(adjacency, scores, -scores))
    edges = _UPPER & present[:, None] & present[None, :]
    # An op slot is open where the slot before it holds a node.
    log_ops = jnp.sum(log_ops * present[:-2])
    return log_ops, jnp.sum(log_edges * edges) if config.rules.wiring is None else jnp.zeros(())


@full_float32
def decode(
    params: Params,
    latent: Float[Array, " latent"],
    told: Float[Array, " told"],
    *,
    config: DecoderConfig,
) -> tuple[Int[Array, " nodes"], Bool[Array, "nodes nodes"]]:
    """The cell of the most likely choice in each step among those that lead to a valid cell."""
    apply, rules = partial(Decoder(config).apply, {"params": params}), config.rules
    contexts = apply(latent, told, method="contexts")
    wiring = None if rules.wiring is None else _wired(rules)

    def step(carry, xs):
        (nodes, adjacency), (context, index) = carry, xs
        hidden = apply(context, nodes, adjacency, index, method="hidden")
        there = (nodes != ABSENT) & (jnp.arange(MAX_NODES) < index)
        childless = there & ~adjacency.any(1)
        # What is left when every node has its child; a node more takes one parent's edge.
        spare = rules.max_edges - adjacency.sum() - childless.sum()
        at_end = index == _LAST
        stops = (index > 1) & (nodes[index - 1] == ABSENT)
        stops |= at_end | (index > rules.max_ops) | ((spare < 1) & (wiring is None))
        logits = apply(hidden, method="op_logits")
        logits = logits.at[-1].add(jnp.where(index > rules.min_ops, 0.0, -jnp.inf))
        op = jnp.where(stops, rules.num_ops, jnp.argmax(logits))
        absent = (op == rules.num_ops) & ~at_end
        if wiring is None:
            scores = jnp.nan_to_num(apply(hidden, op, method="parent_logits"))
            parents = _parents(scores, there[:_LAST], childless[:_LAST], spare - 1 + at_end)
        else:
            scores, parents = jnp.zeros(_LAST), wiring[:_LAST, index]
        code = jnp.where(absent, ABSENT, jnp.where(at_end, OUTPUT, op))
        nodes = nodes.at[index].set(code.astype(jnp.int8))
        adjacency = adjacency.at[:_LAST, index].set(parents & ~absent)
        return (nodes, adjacency), scores

    nodes = jnp.full(MAX_NODES, ABSENT, jnp.int8).at[0].set(INPUT)
    empty = jnp.zeros((MAX_NODES, MAX_NODES), bool)
    steps = (contexts, jnp.arange(1, MAX_NODES))
    (nodes, adjacency), rows = jax.lax.scan(step, (nodes, empty), steps)
    if wiring is not None:
        return nodes, adjacency
    return nodes, project(nodes, adjacency, _as_matrix(rows), min_edges=rules.min_edges)


def _wired(rules: CellRules) -> Bool[Array, "nodes nodes"]:
    """The adjacency of every cell; the output comes last, whatever the number of ops."""
    adjacency = np.zeros((MAX_NODES, MAX_NODES), bool)
    for parent, child in rules.wiring:
        adjacency[parent, _LAST if child == rules.max_ops + 1 else child] = True
    return jnp.asarray(adjacency)


def _parents(
    scores: Float[Array, " parents"],
    there: Bool[Array, " parents"],
    childless: Bool[Array, " parents"],
    spare: Int[Array, ""],
) -> Bool[Array, " parents"]:
    """The nodes that score above zero, at least one; `spare` of them may have a child already."""
    wanted = there & (scores > 0)
    second = wanted & ~childless
    place = _places(jnp.where(second, scores, -jnp.inf))
    chosen = (wanted & childless) | (second & (place < spare))
    possible = childless | (there & (spare > 0))
    best = jnp.arange(_LAST) == jnp.argmax(jnp.where(possible, scores, -jnp.inf))
    return jnp.where(chosen.any(), chosen, best)


def _places(scores: Float[Array, " n"]) -> Int[Array, " n"]:
    """How many score higher, or as high and come earlier. (XLA sorts slowly on CPUs.)"""
    earlier = jnp.tri(len(scores), k=-1, dtype=bool)
    other, own = scores[None], scores[:, None]
    ahead = (other > own) | ((other == own) & earlier)
    return ahead.sum(1)


def project(
    nodes: Int[Array, " nodes"],
    adjacency: Bool[Array, "nodes nodes"],
    scores: Float[Array, "nodes nodes"],
    *,
    min_edges: int,
) -> Bool[Array, "nodes nodes"]:
    """`adjacency`, with a child for each node and at least `min_edges` edges.

    Every node must have a parent already. Only missing edges are added, the best-scoring ones
    (finite scores). So every node reaches the output, and is reached from the input.
    """
    present = nodes != ABSENT
    allowed = _UPPER & present[:, None] & present[None, :]
    scores = jnp.where(allowed, scores, -jnp.inf)
    best = jax.nn.one_hot(jnp.argmax(scores, axis=1), MAX_NODES, dtype=bool)
    childless = present & ~adjacency.any(1) & (nodes != OUTPUT)
    adjacency = adjacency | (best & childless[:, None])
    missing = min_edges - adjacency.sum()
    free = jnp.where(allowed & ~adjacency, scores, -jnp.inf).reshape(-1)
    place = _places(free)
    added = (place < missing) & (free > -jnp.inf)
    return adjacency | added.reshape(adjacency.shape)
