"""What a query shows and is charged, and what validation picks."""

import jax
import numpy as np
import pytest

from nasgen.benchmarks.tabular.table import Queries, picked, query
from tests.benchmarks.tabular import made_up

TABLE = made_up.table()


def test_a_query_shows_validation_and_is_charged_the_training():
    asked = query(query(Queries(), TABLE, 3), TABLE, 7, 12)
    assert asked.rows == (3, 7) and asked.epochs == (200, 12)
    assert asked.validation == (TABLE.validation[3], TABLE.curves[12][7])
    assert asked.seconds[0] == TABLE.seconds[3]
    assert asked.seconds[1] == pytest.approx(TABLE.seconds[3] + TABLE.seconds[7] * 12 / 200)


def test_a_training_that_goes_on_is_charged_for_the_rest_and_nothing_twice():
    short = query(Queries(), TABLE, 7, 12)
    whole = query(query(short, TABLE, 7), TABLE, 7, 12)
    assert whole.seconds[1] == pytest.approx(TABLE.seconds[7])
    assert whole.seconds[2] == whole.seconds[1]


def test_epochs_that_nobody_recorded_are_named():
    with pytest.raises(ValueError, match=r"`epochs` of made_up/images must be one of \[12, 200\]"):
        query(Queries(), TABLE, 0, 50)


def test_validation_picks_the_best_so_far_and_the_first_of_equals():
    columns = TABLE._replace(validation=np.array([1.0, 3.0, 3.0, 5.0, 4.0]))
    assert picked(columns, np.array([0, 2, 1, 3, 4])).tolist() == [0, 2, 2, 3, 3]


def test_rows_are_their_architectures_and_mutants_differ_in_one_choice():
    for row in (0, 1, 9_999, TABLE.num_rows - 1):
        assert TABLE.row(TABLE.architecture(row)) == row
        mutant = TABLE.mutate(jax.random.key(row), row)
        assert (TABLE.digits[mutant] != TABLE.digits[row]).sum() == 1
