"""The generators on tables: what they write is in the table, and follows the accuracy asked for."""

import itertools

import jax
import numpy as np
import pytest

from nasgen.benchmarks.tabular import sequence_writer, writer
from nasgen.benchmarks.tabular.cell_writer import know_cells
from nasgen.benchmarks.tabular.designer import standardised
from nasgen.benchmarks.tabular.digits import stage_table
from nasgen.benchmarks.tabular.nb_macro import without_identities
from nasgen.benchmarks.tabular.writer import Refit, examples
from nasgen.pretrained.bundle import load_cells
from tests.benchmarks.tabular import made_up


def sequences():
    """Eight layers of three choices; more is better, as is a plain layer at the end."""
    digits = np.array(list(itertools.product(range(3), repeat=8)))
    networks = without_identities(digits)
    test = 50 + networks.sum(1) + 2.0 * (networks[:, 7] == 0)
    params = 1e4 * (1.0 + networks.sum(1))
    return stage_table(
        3,
        digits,
        networks,
        name="made_up/sequences",
        validation=test,
        test=test,
        sees="test",
        seconds=np.ones(len(test)),
        timing="made up",
        epochs=1,
        curves={},
        costs={"params": params},
        latency={},
    )


@pytest.fixture(scope="module", params=["cells", pytest.param("sequences", marks=pytest.mark.slow)])
def known(request):
    if request.param == "cells":
        table = made_up.table()
        return table, know_cells(table, load_cells("nb201"))
    table = sequences()
    return table, sequence_writer.know_sequences(jax.random.key(0), table)


def test_what_is_written_is_in_the_table_and_follows_the_accuracy_asked_for(known):
    table, (write, *_) = known
    rows = write.draw(jax.random.key(0), write.params, 64)
    assert 32 <= len(rows) == len(set(rows.tolist())) and rows.max() < table.num_rows
    sample = np.random.default_rng(0).choice(table.num_rows, 2_048, replace=False)
    labels, settings = standardised(table.test[sample]), Refit(steps=120, batch_size=64)
    params = write.refit(jax.random.key(0), write.params, sample, labels, settings)
    found = {}
    for asked in (-1.0, 0.0, 1.0):
        rows = write.draw(jax.random.key(1), params, 128, np.array([asked, asked]))
        found[asked] = (table.test[rows].mean() - table.test.mean()) / table.test.std()
    assert all(abs(mean - asked) < 0.5 for asked, mean in found.items()), found


def test_later_refits_compile_nothing(known):
    table, (write, *_) = known
    rows, settings = np.arange(256), Refit(steps=2, batch_size=8, learning_rate=1e-3)
    before, params = writer._train._cache_size(), write.params
    for seed in range(3):
        labels = np.random.default_rng(seed).normal(size=256).astype(np.float32)
        params = write.refit(jax.random.key(seed), params, rows, labels, settings)
    assert writer._train._cache_size() == before + 1


def test_half_of_the_examples_are_the_best():
    accuracy = np.linspace(0, 1, 1_000).astype(np.float32)
    chosen = examples(jax.random.key(0), accuracy, Refit(steps=50, batch_size=64))
    assert chosen.shape == (50, 64)
    assert (accuracy[chosen] >= 0.9).mean() == pytest.approx(0.55, abs=0.02)


def test_rows_that_build_the_same_network_are_one():
    table = sequences()
    stands = np.array([table.row(table.architecture(row)) for row in range(table.num_rows)])
    one, other = (int(name, 3) for name in ("22212220", "22212202"))  # rows count in threes
    assert stands[one] == stands[other] and len(table.networks) == 3_969
    assert (table.stands == stands).all()
    mutants = {table.mutate(jax.random.key(seed), one) for seed in range(40)}
    assert len(mutants) > 8 and all(stands[mutant] == mutant for mutant in mutants)
