"""Architectures as JSON-ready dicts, and back with every rule checked.

The form is that of the networks which the paper's authors released: `cells` (one a stage; `nodes`
with `op` and `kernel`, node 0 `input`, the last `output`, `none` for an absent one; `edges`),
`channels`, `strides`, `repeats`, `final_width`; ours adds `clusters`, and `excitation` where there
is one. Reading raises a one-line
ValueError for anything that is not a valid architecture.
"""

from collections.abc import Mapping
from reprlib import repr as brief  # cuts what is long or deep
from typing import Any

from nasgen.spaces import graphs
from nasgen.spaces.macro import MAX_STAGES, broken_rules
from nasgen.spaces.space import Space
from nasgen.types import MAX_NODES, Architecture, Cell, MacroArchitecture, Op, Stage

_KINDS = {list: "a list", int: "a whole number", float: "a number", str: "a string"}
_UNBOUNDED = 2**30  # cluster ids and sizes of foreign architectures are not ours to limit


def cell_to_json(cell: Cell, space: Space) -> dict[str, Any]:
    """A cell as `{"nodes": [...], "edges": [...]}`."""
    ops = [{"op": space.ops[i].kind, "kernel": space.ops[i].kernel} for i in cell.ops]
    nodes = [{"op": "input"}, *ops, {"op": "output"}]
    return {"nodes": nodes, "edges": [list(edge) for edge in cell.edges]}


def cell_from_json(data: Any, space: Space) -> Cell:
    """The cell in `data`. Raises ValueError naming what is wrong."""
    nodes, edges = _field(data, "nodes", list), _field(data, "edges", list)
    if not 2 <= len(nodes) <= MAX_NODES:
        raise ValueError(f"`nodes` must hold 2..{MAX_NODES} nodes; got {len(nodes)}.")
    names = [_field(node, "op", str) for node in nodes]
    if names[0] != "input" or names[-1] != "output" or {"input", "output"} & set(names[1:-1]):
        raise ValueError("`nodes` must begin with op 'input', end with 'output', repeat neither.")
    if len(edges) > MAX_NODES * MAX_NODES:
        raise ValueError(f"`edges` must hold at most {MAX_NODES * MAX_NODES} pairs.")
    pairs = sorted({_edge(edge, len(nodes)) for edge in edges})
    present = [i for i, name in enumerate(names) if name != "none"]
    place = {node: i for i, node in enumerate(present)}
    if any(end not in place for pair in pairs for end in pair):
        raise ValueError("`edges` must not touch a node whose op is 'none'.")
    ops = tuple(_op_index(nodes[i], space) for i in present[1:-1])
    cell = Cell(ops, tuple((place[u], place[v]) for u, v in pairs))
    if not space.is_valid(graphs.pack([cell]))[0]:
        raise ValueError(
            f"`edges` do not make a valid `{space.name}` cell: every node must lie on a path from "
            f"input to output, with the space's least number of edges; got {[*cell.edges]}."
        )
    return cell


def _edge(edge: Any, num_nodes: int) -> tuple[int, int]:
    is_pair = isinstance(edge, list | tuple) and len(edge) == 2
    if not is_pair or not all(type(end) is int for end in edge):
        raise ValueError(f"`edges` must hold pairs of node numbers; got {brief(edge)}.")
    parent, child = edge
    if not 0 <= parent < child < num_nodes:
        raise ValueError(f"an edge must go to a later node in 0..{num_nodes - 1}; got {edge}.")
    return parent, child


def _op_index(node: Any, space: Space) -> int:
    op = Op(node["op"], node.get("kernel", 0))
    if type(op.kernel) is not int or op not in space.ops:
        known = sorted({o.kind for o in space.ops})
        kernels = sorted({o.kernel for o in space.ops})
        raise ValueError(
            f"`op` must be one of {known} with a `kernel` of {kernels} in space `{space.name}`; "
            f"got {brief(op.kind)} with kernel {brief(op.kernel)}."
        )
    return space.ops.index(op)


def architecture_to_json(architecture: Architecture, space: Space) -> dict[str, Any]:
    """An architecture as a JSON-ready dict."""
    stages = architecture.macro.stages
    excitation = {"excitation": architecture.excitation} if architecture.excitation else {}
    return {
        "cells": [cell_to_json(cell, space) for cell in architecture.cells],
        "clusters": [s.cluster for s in stages],
        "channels": [s.channels for s in stages],
        "strides": [s.stride for s in stages],
        "repeats": [s.repeats for s in stages],
        "final_width": architecture.macro.final_width,
        **excitation,
    }


def architecture_from_json(data: Any, space: Space) -> Architecture:
    """The architecture in `data`. Raises ValueError naming what is wrong."""
    cells = _field(data, "cells", list)
    num = len(cells)
    if not 1 <= num <= MAX_STAGES:
        raise ValueError(f"`cells` must hold 1..{MAX_STAGES} cells, one a stage; got {num}.")
    columns = [_integers(data, name, num) for name in ("channels", "strides", "repeats")]
    clusters = _integers(data, "clusters", num) if "clusters" in data else [0] * num
    stages = tuple(Stage(*row) for row in zip(clusters, *columns, strict=True))
    macro = MacroArchitecture(stages, _field(data, "final_width", int))
    broken = broken_rules(macro, num_clusters=_UNBOUNDED, size=_UNBOUNDED)
    if broken:
        got = [*map(tuple, stages), macro.final_width]
        raise ValueError(f"the macro architecture must have {broken[0]}; got {brief(got)}.")
    excitation = _field(data, "excitation", float) if "excitation" in data else 0.0
    if not 0 <= excitation <= 1:
        raise ValueError(f"`excitation` must be in 0..1; got {excitation}.")
    return Architecture(macro, tuple(cell_from_json(cell, space) for cell in cells), excitation)


def _integers(data: Mapping, name: str, num: int) -> list[int]:
    values = _field(data, name, list)
    if len(values) != num or not all(type(value) is int for value in values):
        raise ValueError(f"`{name}` must be {num} whole numbers, one a stage; got {brief(values)}.")
    return values


def _field(data: Any, name: str, kind: type) -> Any:
    if not isinstance(data, Mapping) or name not in data:
        raise ValueError(f"`{name}` is missing from {brief(data)}.")
    if type(data[name]) is not kind:
        raise ValueError(f"`{name}` must be {_KINDS[kind]}; got {brief(data[name])}.")
    return data[name]
