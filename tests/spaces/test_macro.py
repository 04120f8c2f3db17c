"""The macro space: no rule is ever broken, and mutation makes every change the paper names."""

import collections

import jax
import numpy as np
import pytest

from nasgen.spaces import macro
from nasgen.types import MAX_CELLS, MacroArchitecture, Stage

GOOD = Stage(0, 16, 1, 1)


def obeys(architecture: MacroArchitecture, num_clusters: int, size: int) -> bool:
    """The rules once more, step by step through the network."""
    cells = 0
    for stage in architecture.stages:
        if not (0 <= stage.cluster < num_clusters and stage.stride in (1, 2)):
            return False
        if stage.channels not in range(8, 1025, 8) or stage.repeats not in (1, 2, 3, 4):
            return False
        if stage.stride == 2 and size == 1:
            return False
        size = -(-size // stage.stride)
        cells += stage.repeats
    return 1 <= cells <= 19 and architecture.final_width in range(8, 1025, 8)


@pytest.mark.parametrize(
    ("architecture", "rule"),
    [
        (MacroArchitecture((), 8), "stages"),
        (MacroArchitecture((GOOD,) * 11, 8), "stages"),
        (MacroArchitecture((GOOD._replace(cluster=3),), 8), "clusters"),
        (MacroArchitecture((GOOD._replace(cluster=-1),), 8), "clusters"),
        (MacroArchitecture((GOOD._replace(channels=0),), 8), "channels"),
        (MacroArchitecture((GOOD._replace(channels=12),), 8), "channels"),
        (MacroArchitecture((GOOD._replace(channels=1032),), 8), "channels"),
        (MacroArchitecture((GOOD._replace(stride=3),), 8), "strides"),
        (MacroArchitecture((GOOD._replace(repeats=0),), 8), "repeats"),
        (MacroArchitecture((GOOD._replace(repeats=5),), 8), "repeats"),
        (MacroArchitecture((GOOD._replace(repeats=4),) * 5, 8), "cells"),
        (MacroArchitecture((GOOD._replace(stride=2),) * 4, 8), "single pixel"),  # 8, 4, 2, 1
        (MacroArchitecture((GOOD,), 0), "final width"),
        (MacroArchitecture((GOOD,), 1032), "final width"),
    ],
)
def test_broken_rules_by_hand(architecture, rule):
    broken = macro.broken_rules(architecture, num_clusters=3, size=8)
    assert len(broken) == 1 and rule in broken[0]
    assert not obeys(architecture, 3, 8) or rule == "stages"


def test_the_limits_themselves_are_allowed():
    stages = (Stage(2, 1024, 2, 4),) * 3 + (Stage(0, 8, 1, 4), Stage(0, 8, 1, 3))
    assert macro.broken_rules(MacroArchitecture(stages, 1024), num_clusters=3, size=8) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 32, 224])
def test_max_downsamples_counts_the_halvings(size):
    pixels, halvings = size, 0
    while pixels > 1:
        pixels, halvings = -(-pixels // 2), halvings + 1
    assert macro.max_downsamples(size) == halvings


@pytest.mark.parametrize(("size", "max_channels"), [(1, 1024), (7, 20), (32, 1024), (224, 8)])
def test_samples_keep_the_rules(size, max_channels):
    options = dict(num_clusters=5, size=size, max_channels=max_channels)
    drawn = macro.sample(jax.random.key(0), 1000, **options)
    assert len(drawn) == 1000
    for architecture in drawn:
        assert obeys(architecture, 5, size)
        assert macro.broken_rules(architecture, num_clusters=5, size=size) == []
        assert all(stage.channels <= max(8, max_channels) for stage in architecture.stages)
    assert drawn == macro.sample(jax.random.key(0), 1000, **options)
    assert drawn != macro.sample(jax.random.key(1), 1000, **options)
    assert macro.sample(jax.random.key(0), 0, **options) == []


def test_samples_reach_what_the_space_holds():
    drawn = macro.sample(jax.random.key(2), 3000, num_clusters=5, size=32)
    stages = [stage for architecture in drawn for stage in architecture.stages]
    assert {len(architecture.stages) for architecture in drawn} == set(range(1, 7))
    assert {stage.cluster for stage in stages} == set(range(5))
    assert {stage.repeats for stage in stages} == {1, 2, 3, 4}
    assert {stage.stride for stage in stages} == {1, 2}
    assert min(stage.channels for stage in stages) == 8
    assert max(stage.channels for stage in stages) == 1024
    cells = [sum(stage.repeats for stage in architecture.stages) for architecture in drawn]
    assert max(cells) == MAX_CELLS
    widths = np.array([architecture.final_width for architecture in drawn])
    assert np.quantile(widths, 0.05) < 32 and np.quantile(widths, 0.95) > 256


def changes(before: MacroArchitecture, after: MacroArchitecture) -> set[str]:
    """What a mutation changed: fields of one stage, a stage more or less, the final width."""
    found = {"final width"} if before.final_width != after.final_width else set()
    old, new = before.stages, after.stages
    if len(new) > len(old):
        return found | {"split"}
    if len(new) < len(old):
        return found | {"removed"}
    differing = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    assert len(differing) <= 1
    for one, other in differing:
        found |= {name for name in Stage._fields if getattr(one, name) != getattr(other, name)}
    return found


def test_mutants_keep_the_rules_and_change_everything_once():
    seen, alone = collections.Counter(), collections.Counter()
    parents = macro.sample(jax.random.key(3), 200, num_clusters=4, size=16)
    keys = jax.random.split(jax.random.key(4), (200, 4))
    for parent, row in zip(parents, keys, strict=True):
        for key in row:
            mutant = macro.mutate(key, parent, num_clusters=4, size=16)
            assert obeys(mutant, 4, 16) and mutant != parent
            changed = changes(parent, mutant)
            seen.update(changed)
            alone.update(changed if len(changed) == 1 else ())
    kinds = {"cluster", "channels", "stride", "repeats", "final width", "split", "removed"}
    assert set(seen) == kinds and min(seen.values()) >= 10, seen
    assert set(alone) == kinds, alone


def test_a_split_stage_keeps_its_repeats_and_strides_once():
    parent = MacroArchitecture((Stage(0, 32, 2, 4),), 64)
    for seed in range(100):
        key = jax.random.key(seed)
        mutant = macro.mutate(key, parent, num_clusters=3, size=16)
        assert mutant == macro.mutate(key, parent, num_clusters=3, size=16)
        if len(mutant.stages) == 2:
            first, second = mutant.stages
            assert first.repeats == 4 and second.repeats in (1, 2) and second.stride == 1
            assert first[:2] == second[:2]


def test_mutation_leaves_the_smallest_macro_and_refuses_a_broken_one():
    smallest = MacroArchitecture((Stage(0, 8, 1, 1),), 8)
    for seed in range(20):
        mutant = macro.mutate(jax.random.key(seed), smallest, num_clusters=1, size=1)
        assert obeys(mutant, 1, 1) and mutant != smallest
    with pytest.raises(ValueError, match=r"`macro` must have clusters in 0\.\.1; got"):
        broken = MacroArchitecture((Stage(7, 8, 1, 1), Stage(8, 8, 1, 1)), 8)
        macro.mutate(jax.random.key(0), broken, num_clusters=2, size=8)


def test_pack_and_unpack_are_inverse():
    macros = macro.sample(jax.random.key(3), 50, num_clusters=5, size=32)
    batch = macro.pack(macros)
    assert macro.unpack(batch) == macros
    rows = np.array([7, 3, 7])
    assert macro.unpack(macro.take(batch, rows)) == [macros[i] for i in rows]
    assert macro.unpack(macro.pack([])) == []
