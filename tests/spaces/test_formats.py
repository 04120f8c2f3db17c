"""Architectures as JSON: round trips, the paper's networks, and refusals of everything else."""

import copy
import json

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.spaces import SPACES, formats, graphs, macro
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage

OPEN = SPACES["open"]


def random_architectures(num: int) -> list[Architecture]:
    key = jax.random.key(0)
    macros = macro.sample(key, num, num_clusters=32, size=32)
    cells = iter(graphs.unpack(OPEN.sample(key, 10 * num)))
    return [Architecture(m, tuple(next(cells) for _ in m.stages)) for m in macros]


def test_round_trip():
    for architecture in random_architectures(300):
        text = json.dumps(formats.architecture_to_json(architecture, OPEN))
        assert formats.architecture_from_json(json.loads(text), OPEN) == architecture


@pytest.mark.parametrize("name", ["nb201", "nb101", "transnas_micro"])
def test_round_trip_of_cells(name):
    space = SPACES[name]
    for cell in graphs.unpack(space.sample(jax.random.key(0), 200)):
        text = json.dumps(formats.cell_to_json(cell, space))
        assert formats.cell_from_json(json.loads(text), space) == cell


def test_a_cell_of_one_edge_is_one_of_nb101_alone():
    lone = Cell((), ((0, 1),))
    data = formats.cell_to_json(lone, SPACES["nb101"])
    assert formats.cell_from_json(data, SPACES["nb101"]) == lone
    with pytest.raises(ValueError, match="valid `open` cell"):
        formats.cell_from_json(data, OPEN)


def test_json_by_hand():
    cell = Cell((4, 24), ((0, 1), (1, 2), (2, 3)))  # conv 3x3, bconv_025 1x1
    architecture = Architecture(MacroArchitecture((Stage(7, 16, 2, 3),), 64), (cell,))
    assert formats.architecture_to_json(architecture, OPEN) == {
        "cells": [
            {
                "nodes": [
                    {"op": "input"},
                    {"op": "conv", "kernel": 3},
                    {"op": "bconv_025", "kernel": 1},
                    {"op": "output"},
                ],
                "edges": [[0, 1], [1, 2], [2, 3]],
            }
        ],
        "clusters": [7],
        "channels": [16],
        "strides": [2],
        "repeats": [3],
        "final_width": 64,
    }


def test_absent_nodes_may_stand_anywhere_and_clusters_may_be_missing():
    data = good()
    nodes = data["cells"][0]["nodes"]
    nodes.insert(1, {"op": "none"})
    data["cells"][0]["edges"] = [[3, 4], [0, 2], [2, 3], [0, 4]]
    del data["clusters"]
    architecture = formats.architecture_from_json(data, OPEN)
    assert architecture.cells[0] == Cell((4, 12), ((0, 1), (0, 3), (1, 2), (2, 3)))
    assert architecture.macro.stages[0] == Stage(0, 16, 1, 2)


@pytest.mark.parametrize("name", ["hgen_networks_cifar", "hgen_networks_imagenet450m"])
def test_networks_of_the_papers_authors(reference_dir, name):
    networks = json.loads((reference_dir / f"{name}.json").read_text())
    assert len(networks) == 10
    for network in networks:
        architecture = formats.architecture_from_json(network, OPEN)
        written = formats.architecture_to_json(architecture, OPEN)
        assert formats.architecture_from_json(written, OPEN) == architecture
        for name in ("channels", "strides", "repeats", "final_width"):
            assert written[name] == network[name]
        for ours, theirs in zip(written["cells"], network["cells"], strict=True):
            ops = [node for node in theirs["nodes"] if node["op"] != "none"]
            assert ours["nodes"] == ops and len(ours["edges"]) == len(theirs["edges"])


def good() -> dict:
    """A valid network of one stage; the refused ones below differ from it in one place."""
    nodes = [{"op": "conv", "kernel": 3}, {"op": "mbconv_2", "kernel": 1}]
    nodes = [{"op": "input"}, *nodes, {"op": "output"}]
    cell = {"nodes": nodes, "edges": [[0, 1], [1, 2], [2, 3]]}
    lists = {"clusters": [0], "channels": [16], "strides": [1], "repeats": [2]}
    return {"cells": [cell], **lists, "final_width": 32}


def changed(*path_and_value):
    *path, last, value = path_and_value
    data = place = good()
    for name in path:
        place = place[name]
    place[last] = value
    return data


def without(*path):
    data = place = good()
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return data


NODES, EDGES = ("cells", 0, "nodes"), ("cells", 0, "edges")
NAN, HUGE = float("nan"), 10**30
BROKEN = {
    "no dict": ([1, 2], "`cells` is missing"),
    "null": (None, "`cells` is missing"),
    "a string": ("cells", "`cells` is missing"),
    "a number": (3, "`cells` is missing"),
    "empty": ({}, "`cells` is missing"),
    "no channels": (without("channels"), "`channels` is missing"),
    "no repeats": (without("repeats"), "`repeats` is missing"),
    "no final width": (without("final_width"), "`final_width` is missing"),
    "no edges": (without(*EDGES), "`edges` is missing"),
    "no nodes": (without(*NODES), "`nodes` is missing"),
    "node without op": (changed(*NODES, 1, {"kernel": 3}), "`op` is missing"),
    "node as string": (changed(*NODES, 1, "conv"), "`op` is missing"),
    "node as null": (changed(*NODES, 1, None), "`op` is missing"),
    "cells as dict": (changed("cells", {}), "`cells` must be a list"),
    "no cells": (changed("cells", []), "`cells` must hold"),
    "cell as null": (changed("cells", [None]), "`nodes` is missing"),
    "many cells": (changed("cells", [good()["cells"][0]] * 11), "`cells` must hold"),
    "a million cells": (changed("cells", [None] * 10**6), "`cells` must hold"),
    "one node": (changed(*NODES, [{"op": "input"}]), "`nodes` must hold"),
    "a million nodes": (changed(*NODES, [{"op": "input"}] * 10**6), "`nodes` must hold"),
    "nodes as string": (changed(*NODES, "input output"), "`nodes` must be a list"),
    "no input": (changed(*NODES, 0, {"op": "conv", "kernel": 1}), "begin with op 'input'"),
    "two outputs": (changed(*NODES, 1, {"op": "output"}), "begin with op 'input'"),
    "unknown op": (changed(*NODES, 1, "op", "conv2d"), "`op` must be one of"),
    "skip": (changed(*NODES, 1, {"op": "skip_connect"}), "`op` must be one of"),
    "op as number": (changed(*NODES, 1, "op", 3), "`op` must be a string"),
    "kernel 7": (changed(*NODES, 1, "kernel", 7), "with kernel 7"),
    "kernel missing": (changed(*NODES, 1, {"op": "conv"}), "with kernel 0"),
    "kernel true": (changed(*NODES, 2, "kernel", True), "with kernel True"),
    "kernel float": (changed(*NODES, 1, "kernel", 3.0), "with kernel 3.0"),
    "kernel NaN": (changed(*NODES, 1, "kernel", NAN), "with kernel nan"),
    "kernel text": (changed(*NODES, 1, "kernel", "3\n3"), r"with kernel '3\\n3'"),
    "kernel list": (changed(*NODES, 1, "kernel", [3]), r"with kernel \[3\]"),
    "cycle": (changed(*EDGES, [[0, 1], [1, 2], [2, 1], [2, 3]]), "a later node"),
    "self-loop": (changed(*EDGES, [[0, 1], [1, 1], [1, 2], [2, 3]]), "a later node"),
    "edge beyond": (changed(*EDGES, [[0, 1], [1, 2], [2, 9]]), "a later node"),
    "edge from -1": (changed(*EDGES, [[-1, 1], [1, 2], [2, 3]]), "a later node"),
    "edge of floats": (changed(*EDGES, 0, [0.0, 1.0]), "pairs of node numbers"),
    "edge of bools": (changed(*EDGES, 0, [False, True]), "pairs of node numbers"),
    "edge of three": (changed(*EDGES, 0, [0, 1, 2]), "pairs of node numbers"),
    "edge as text": (changed(*EDGES, 0, "01"), "pairs of node numbers"),
    "edges as dict": (changed(*EDGES, {}), "`edges` must be a list"),
    "edgeless": (changed(*EDGES, []), "valid `open` cell"),
    "a million edges": (changed(*EDGES, [[0, 1]] * 10**6), "`edges` must hold"),
    "dead end": (changed(*EDGES, [[0, 1], [0, 2], [2, 3], [0, 3]]), "valid `open` cell"),
    "too few edges": (
        changed("cells", 0, {"nodes": good()["cells"][0]["nodes"][1:], "edges": []}),
        "begin with op 'input'",
    ),
    "edge to none": (changed(*NODES, 1, {"op": "none"}), "op is 'none'"),
    "lengths differ": (changed("strides", [1, 1]), "`strides` must be 1 whole numbers"),
    "channels as number": (changed("channels", 16), "`channels` must be a list"),
    "channels as text": (changed("channels", ["16"]), "`channels` must be 1 whole"),
    "channels NaN": (changed("channels", [NAN]), "`channels` must be 1 whole"),
    "channels float": (changed("channels", [16.0]), "`channels` must be 1 whole"),
    "channels 12": (changed("channels", [12]), "channels a multiple of 8"),
    "channels negative": (changed("channels", [-16]), "channels a multiple of 8"),
    "channels huge": (changed("channels", [HUGE]), "channels a multiple of 8"),
    "stride true": (changed("strides", [True]), "`strides` must be 1 whole"),
    "stride 3": (changed("strides", [3]), "strides 1 or 2"),
    "repeats negative": (changed("repeats", [-1]), "repeats in 1..4"),
    "repeats zero": (changed("repeats", [0]), "repeats in 1..4"),
    "repeats huge": (changed("repeats", [HUGE]), "repeats in 1..4"),
    "cluster negative": (changed("clusters", [-1]), "clusters in"),
    "clusters null": (changed("clusters", None), "`clusters` must be a list"),
    "final width true": (changed("final_width", True), "`final_width` must be a whole number"),
    "final width null": (changed("final_width", None), "`final_width` must be a whole number"),
    "final width 4": (changed("final_width", 4), "final width a multiple of 8"),
    "final width huge": (changed("final_width", HUGE), "final width a multiple of 8"),
}


def test_the_good_one_is_good():
    assert formats.architecture_from_json(good(), OPEN).macro.final_width == 32


@pytest.mark.parametrize("name", BROKEN)
def test_refusals_are_one_short_line(name):
    data, reason = BROKEN[name]
    with pytest.raises(ValueError, match=reason) as error:
        formats.architecture_from_json(data, OPEN)
    message = str(error.value)
    assert "\n" not in message and len(message) < 400


def test_too_many_cells_in_all():
    data = good()
    data["cells"] *= 5
    data |= {name: data[name] * 5 for name in ("clusters", "channels", "strides")}
    data["repeats"] = [4] * 5
    with pytest.raises(ValueError, match="at most 19 cells"):
        formats.architecture_from_json(data, OPEN)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
words = st.sampled_from(["nodes", "edges", "op", "kernel", "cells", "input", "output", "conv"])
anything = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


def places(data, path=()):
    """Every path into a nested JSON value."""
    yield path
    pairs = enumerate(data) if isinstance(data, list) else getattr(data, "items", tuple)()
    for name, value in pairs:
        yield from places(value, (*path, name))


PLACES = [path for path in places(good()) if path]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=3))
def test_fuzz_raises_nothing_but_value_errors(edits):
    data = good()
    for path, value in edits:
        place = data
        try:
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = copy.deepcopy(value)
        except (TypeError, KeyError, IndexError):
            continue  # an edit before took this place away
    try:
        architecture = formats.architecture_from_json(data, OPEN)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        written = formats.architecture_to_json(architecture, OPEN)
        assert formats.architecture_from_json(written, OPEN) == architecture


@settings(max_examples=200, deadline=None)
@given(anything)
def test_fuzz_of_whole_values(data):
    with pytest.raises(ValueError):
        formats.architecture_from_json(data, OPEN)
    with pytest.raises(ValueError):
        formats.cell_from_json(data, OPEN)
