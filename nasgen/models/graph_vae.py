"""The graph VAE of the metric space: cells to latents, latents to conditions, latents to cells.

The encoder is a graph network (Battaglia et al. 2018, by jraph) of `depth` graph convolutions with
separate weights along and against the edges and a global node linked to all (Xiang et al. 2024). It
is invariant: neither the order of a cell's nodes nor its absent nodes change the latent. A linear
head reads the condition (log params, log MACs, log SNIP-SNR, NWOT; standardised) off the latent.
The decoder writes the cell node by node, see `graph_decoder`.

Shapes: nodes `[batch, 8]` (codes of `types.CellBatch`), adjacency `[batch, 8, 8]`, latents
`[batch, latent]`, conditions and masks `[batch, condition]`.

This is the only module that knows jraph.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nasgen.models import graph_decoder
from nasgen.models.graph_decoder import DecoderConfig
from nasgen.models.graph_order import ranks
from nasgen.precision import full_float32
from nasgen.types import ABSENT, MAX_NODES, MAX_OP_NODES, CellRules

Params = dict[str, Any]
AnyArray = Array | np.ndarray
Nodes = Int[AnyArray, "batch nodes"]
Adjacency = Bool[AnyArray, "batch nodes nodes"]

_PARENTS, _CHILDREN = np.triu_indices(MAX_NODES, 1)  # the edges a cell can have
_CODE_OFFSET = -ABSENT  # the lowest node code becomes 0
_MIN_LOG_VARIANCE, _MAX_LOG_VARIANCE = -12.0, 4.0


class VaeConfig(NamedTuple):
    """Sizes of the VAE; hashable, so it can be a static argument of `jit`.

    rules: of the space whose cells it decodes. width: features of a node and of the global node.
    depth: graph convolutions. readout_width: units between the graph and the latent. decoder_width,
    step_width: see `DecoderConfig`. decoder_condition: whether the decoder may be told the
    condition.
    """

    rules: CellRules
    latent_dim: int = 64
    condition_dim: int = 4
    width: int = 64
    depth: int = 4
    readout_width: int = 256
    decoder_width: int = 512
    step_width: int = 128
    step_depth: int = 1
    decoder_condition: bool = True


def decoder_config(config: VaeConfig) -> DecoderConfig:
    """The decoder's part of the sizes."""
    condition_dim = config.condition_dim if config.decoder_condition else 0
    return DecoderConfig(
        config.rules,
        config.latent_dim,
        condition_dim,
        config.decoder_width,
        config.step_width,
        config.step_depth,
    )


def to_graphs(nodes: Nodes, adjacency: Adjacency) -> jraph.GraphsTuple:
    """One `GraphsTuple` of all cells, with shapes that depend on the batch size only.

    Every cell keeps its 8 nodes and 28 edge slots, one for each parent < child. Slots without an
    edge join a single padding node (the last graph) to itself, so they carry no message. Node
    features: the code and the rank among the op nodes (see `graph_order`; `MAX_OP_NODES` for the
    ends), both integers, and whether the node is there. No edge features, no globals yet.
    """
    batch, padding = nodes.shape[0], nodes.shape[0] * MAX_NODES
    first = MAX_NODES * np.arange(batch)[:, None]
    there = jnp.asarray(adjacency)[:, _PARENTS, _CHILDREN]
    features = {
        "code": jnp.asarray(nodes, jnp.int32) + _CODE_OFFSET,
        "rank": jax.vmap(ranks)(nodes, adjacency),
        "present": jnp.asarray(nodes) != ABSENT,
    }
    return jraph.GraphsTuple(
        nodes={name: jnp.pad(x.reshape(padding), (0, 1)) for name, x in features.items()},
        edges=None,
        senders=jnp.where(there, first + _PARENTS, padding).reshape(-1),
        receivers=jnp.where(there, first + _CHILDREN, padding).reshape(-1),
        globals=None,
        # jraph sums these up; behind the barrier XLA does not, slowly, while it compiles.
        n_node=jax.lax.optimization_barrier(jnp.array([MAX_NODES] * batch + [1])),
        n_edge=jax.lax.optimization_barrier(jnp.array([len(_PARENTS)] * batch + [0])),
    )


class GraphConvolution(nn.Module):
    """h' = h + V silu(W h + A sum_parents h + B sum_children h + C g); likewise the global g."""

    width: int

    @nn.compact
    def __call__(
        self, graph: jraph.GraphsTuple, present: Float[Array, "all_nodes 1"]
    ) -> jraph.GraphsTuple:
        dense = partial(nn.Dense, self.width, use_bias=False)
        normal = graph._replace(
            nodes=nn.LayerNorm(name="node_norm")(graph.nodes) * present,
            globals=nn.LayerNorm(name="global_norm")(graph.globals),
        )

        def update_edge(edges, sent, received, globals_):
            return {"along": sent, "against": received}

        def update_node(h, outgoing, incoming, g):
            hidden = nn.Dense(self.width, name="node_self")(h)
            hidden += dense(name="node_along")(incoming["along"])
            hidden += dense(name="node_against")(outgoing["against"])
            hidden += dense(name="node_global")(g)
            return dense(name="node_out")(nn.silu(hidden)) * present

        def update_global(h, edges, g):
            hidden = nn.Dense(self.width, name="global_self")(g)
            hidden += dense(name="global_nodes")(h)
            return dense(name="global_out")(nn.silu(hidden))

        change = jraph.GraphNetwork(update_edge, update_node, update_global)(normal)
        return graph._replace(
            nodes=graph.nodes + change.nodes, globals=graph.globals + change.globals
        )


def readout_places(rank: Int[Array, " nodes"]) -> Float[Array, "nodes places"]:
    """The share of each node in each place of the readout, whatever the nodes' order: its rank's
    own place; k nodes of one rank are spread evenly over the k places that they take together, so
    that twins, whose features are alike, each have their place. Ends share the last place."""
    place = jnp.arange(MAX_OP_NODES + 1)[None, :]
    twins = (rank[:, None] == rank[None, :]).sum(1)
    twins = jnp.where(rank == MAX_OP_NODES, 1, twins)[:, None]
    taken = (place >= rank[:, None]) & (place < rank[:, None] + twins)
    return taken / jnp.maximum(twins, 1)


class Encoder(nn.Module):
    """Mean and log-variance `[batch, latent]` of the latents of a batch of cells."""

    config: VaeConfig

    @nn.compact
    def __call__(self, nodes: Nodes, adjacency: Adjacency) -> tuple[Array, Array]:
        config, batch = self.config, nodes.shape[0]
        graph = to_graphs(nodes, adjacency)
        features, present = graph.nodes, graph.nodes["present"].astype(jnp.float32)[:, None]
        embed = partial(nn.Embed, features=config.width)
        codes = embed(config.rules.num_ops + _CODE_OFFSET, name="code")(features["code"])
        places = embed(MAX_OP_NODES + 1, name="rank")(features["rank"])
        start = self.param("global", nn.initializers.normal(1.0), (1, config.width))
        graph = graph._replace(
            nodes=(codes + places) * present,
            globals=jnp.broadcast_to(start, (batch + 1, config.width)),
        )
        for index in range(config.depth):
            graph = GraphConvolution(config.width, name=f"conv_{index}")(graph, present)
        h = nn.LayerNorm(name="readout_norm")(graph.nodes) * present
        place = jax.vmap(readout_places)(features["rank"][:-1].reshape(batch, MAX_NODES))
        slots = jnp.einsum("bnw,bnp->bpw", h[:-1].reshape(batch, MAX_NODES, -1), place)
        read = jnp.concatenate([slots.reshape(batch, -1), graph.globals[:-1]], axis=1)
        hidden = nn.silu(nn.Dense(config.readout_width, name="readout")(read))
        mean = nn.Dense(config.latent_dim, name="mean")(hidden)
        spread = nn.Dense(config.latent_dim, name="log_variance", bias_init=_constant(-4.0))
        return mean, jnp.clip(spread(hidden), _MIN_LOG_VARIANCE, _MAX_LOG_VARIANCE)


def _constant(value: float):
    return nn.initializers.constant(value)


@partial(jax.jit, static_argnames="config")
def init(key: Array, config: VaeConfig) -> Params:
    """Params (nested dict of float32 arrays): `encoder`, `decoder`, `regressor`."""
    _check(config)
    encoder_key, decoder_key, regressor_key = jax.random.split(key, 3)
    nodes = jnp.full((1, MAX_NODES), ABSENT)
    adjacency = jnp.zeros((1, MAX_NODES, MAX_NODES), bool)
    latents = jnp.zeros((1, config.latent_dim))
    return {
        "encoder": Encoder(config).init(encoder_key, nodes, adjacency)["params"],
        "decoder": graph_decoder.init(decoder_key, decoder_config(config)),
        "regressor": nn.Dense(config.condition_dim).init(regressor_key, latents)["params"],
    }


@partial(jax.jit, static_argnames="config")
@full_float32
def encode(
    params: Params, nodes: Nodes, adjacency: Adjacency, *, config: VaeConfig
) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]]:
    """Mean and log-variance of the latents; nodes in any order (parents before children)."""
    return Encoder(config).apply({"params": params["encoder"]}, nodes, adjacency)


@partial(jax.jit, static_argnames="config")
@full_float32
def predict_conditions(
    params: Params, latents: Float[AnyArray, "batch latent"], *, config: VaeConfig
) -> Float[Array, "batch condition"]:
    """The condition of each latent. Trust it on encoded cells: re-encode what was sampled."""
    return nn.Dense(config.condition_dim).apply({"params": params["regressor"]}, latents)


@partial(jax.jit, static_argnames="config")
def decode(
    params: Params,
    latents: Float[AnyArray, "batch latent"],
    conditions: Float[AnyArray, "batch condition"] | None = None,
    mask: Bool[AnyArray, "batch condition"] | None = None,
    *,
    config: VaeConfig,
) -> tuple[Int[Array, "batch nodes"], Bool[Array, "batch nodes nodes"]]:
    """The most likely cell of each latent (node by node), always a valid one.

    conditions: what the cell is wanted to have, where `mask` is True (None: everywhere). Only a VAE
    with `decoder_condition` listens.
    """
    given = told(latents.shape[0], conditions, mask, config=config)
    one = partial(graph_decoder.decode, config=decoder_config(config))
    return jax.vmap(partial(one, params["decoder"]))(latents, given)


def told(
    batch: int,
    conditions: Float[AnyArray, "batch condition"] | None,
    mask: Bool[AnyArray, "batch condition"] | None,
    *,
    config: VaeConfig,
) -> Float[Array, "batch told"]:
    """What the decoder is told: the given conditions (else 0), then which ones are given."""
    if not config.decoder_condition:
        return jnp.zeros((batch, 0))
    if conditions is None:
        return jnp.zeros((batch, 2 * config.condition_dim))
    mask = jnp.ones(conditions.shape, bool) if mask is None else jnp.asarray(mask)
    return jnp.concatenate([jnp.where(mask, conditions, 0.0), mask.astype(jnp.float32)], axis=1)


def _check(config: VaeConfig) -> None:
    for name, value in config._asdict().items():
        if name not in ("rules", "decoder_condition") and value < 1:
            raise ValueError(f"`{name}` must be at least 1; got {value}.")
