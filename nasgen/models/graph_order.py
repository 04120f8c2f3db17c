"""A node order that a decoder can learn: by depth, then op, then parents, then children.

The order of `spaces.graphs.canonicalize` is exact but decides by hashes, which no network can
foresee. Here a node's rank counts the op nodes that come before it by (longest path from the input,
op, ranks of its parents, ranks of its children). Nodes that these do not tell apart share a rank,
so ranks are the same for every order of the nodes that came in.

All functions take one cell, nodes `[8]` and adjacency `[8, 8]`; `vmap` them over a batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from nasgen.types import ABSENT, MAX_NODES, MAX_OP_NODES

_REFINEMENTS = 3  # rounds in which ranks of neighbours settle ranks


def ranks(
    nodes: Int[Array, " nodes"], adjacency: Bool[Array, "nodes nodes"]
) -> Int[Array, " nodes"]:
    """How many op nodes come before each op node; `MAX_OP_NODES` for ends and absent nodes."""
    place = jnp.arange(MAX_NODES)
    is_op = (nodes != ABSENT) & (place > 0) & (place < MAX_NODES - 1)
    major = depths(adjacency) * 128 + nodes.astype(jnp.int32)
    both = is_op[:, None] & is_op[None, :]
    before = both & (major[:, None] < major[None, :])
    same = both & (major[:, None] == major[None, :])
    rank = before.sum(0)
    for _ in range(_REFINEMENTS):
        digits = jnp.where(is_op, MAX_NODES**rank, 0)
        parents = (adjacency * digits[:, None]).sum(0)
        children = (adjacency * digits[None, :]).sum(1)
        fewer = children[:, None] < children[None, :]
        fewer &= parents[:, None] == parents[None, :]
        fewer |= parents[:, None] < parents[None, :]
        rank = (before | (same & fewer)).sum(0)
    return jnp.where(is_op, rank, MAX_OP_NODES)


def depths(adjacency: Bool[Array, "nodes nodes"]) -> Int[Array, " nodes"]:
    """Longest path from a node without parents, in edges."""
    depth = jnp.zeros(MAX_NODES, jnp.int32)
    for _ in range(MAX_NODES - 1):
        depth = (adjacency * (depth[:, None] + 1)).max(0)
    return depth


@jax.jit
@jax.vmap
def reorder(
    nodes: Int[Array, " nodes"], adjacency: Bool[Array, "nodes nodes"]
) -> tuple[Int[Array, " nodes"], Bool[Array, "nodes nodes"]]:
    """A batch of cells with the op nodes by rank, ties in the order given, absent ones last.

    Of canonical cells (`spaces.graphs.canonicalize`) this is a canonical order, too.
    """
    rank = ranks(nodes, adjacency).at[0].set(-1).at[-1].set(MAX_NODES)
    order = jnp.argsort(rank, stable=True)
    return nodes[order], adjacency[order][:, order]
