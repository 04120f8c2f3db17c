"""A kept search: it goes on where it stood, to the same end, and damaged files are not trusted."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from nasgen.pipeline.config import SEARCHES
from nasgen.pipeline.kept_search import FOLDER, found_to_json, kept_search, load_state
from nasgen.pipeline.workdir import open_workdir
from nasgen.search.loop import search
from nasgen.search.methods import METHODS
from nasgen.search.state import scores
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_from_json
from tests.search import toy
from tests.search.test_methods import method

OPEN, KEY, EVALUATIONS = SPACES["open"], jax.random.key(0), 11


@pytest.fixture
def workdir(tmp_path):
    return open_workdir(tmp_path / "run", ConfigDict({"seed": 0}))


class Stopped(Exception):
    """The interruption."""


def _run(workdir, name, *, stop=None, **options):
    def on_state(state):
        if stop is not None and state.evaluations >= stop:
            raise Stopped

    problem, asked = toy.problem()
    options = dict(space=OPEN, on_state=on_state, **options)
    return kept_search(workdir, name, KEY, method(name), problem, EVALUATIONS, **options), asked


def _same(one, other):
    for field in one._fields:
        if field != "seconds":
            np.testing.assert_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("name", METHODS)
def test_interrupted_and_run_again_equals_a_straight_run(workdir, name):
    straight = search(KEY, method(name), toy.problem()[0], EVALUATIONS)
    with pytest.raises(Stopped):
        _run(workdir, name, stop=7, seconds_between=0)
    before = load_state(workdir, name, toy.problem()[0], OPEN)
    assert 0 < before.evaluations < EVALUATIONS
    state, asked = _run(workdir, name)
    assert len(asked) == EVALUATIONS - before.evaluations  # nothing is scored twice
    _same(state, straight)
    again, asked = _run(workdir, name)
    assert not asked
    _same(again, straight)
    assert len(list((workdir.path / FOLDER).iterdir())) == 3


def test_a_state_without_its_manifest_or_damaged_is_made_again(workdir, capsys):
    with pytest.raises(Stopped):
        _run(workdir, "evolution", stop=8, seconds_between=3600)
    assert load_state(workdir, "evolution", toy.problem()[0], OPEN) is None
    state, _ = _run(workdir, "evolution")
    (npz,) = (workdir.path / FOLDER).glob("*.npz")
    npz.write_bytes(npz.read_bytes()[:-3] + b"xyz")
    again, asked = _run(workdir, "evolution")
    assert not asked and "damaged or missing" in capsys.readouterr().err  # the journal knows all
    _same(again, state)


def test_a_state_with_other_parts_of_scores_is_made_again(workdir):
    _run(workdir, "evolution")
    problem = toy.problem()[0]
    assert load_state(workdir, "evolution", problem, OPEN) is not None
    assert load_state(workdir, "evolution", problem._replace(names=("a", "b")), OPEN) is None


def test_what_is_scored_is_kept_at_once_and_damaged_lines_are_not_believed(workdir, capsys):
    problem, asked = toy.problem()
    straight = search(KEY, method("generate"), problem, EVALUATIONS)

    def dies(architectures):
        if len(asked) == EVALUATIONS + 5:  # in the middle of a round
            raise Stopped
        return problem.measure(architectures)

    arguments = workdir, "generate", KEY, method("generate"), problem._replace(measure=dies)
    with pytest.raises(Stopped):
        kept_search(*arguments, EVALUATIONS, space=OPEN)
    journal = workdir.path / FOLDER / "generate.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    lines[2] = lines[2].replace(b"0", b"1", 1)
    journal.write_bytes(b"".join(lines)[:-7])  # one flipped, one torn
    state, rest = _run(workdir, "generate")
    assert len(rest) == EVALUATIONS - 3 and "2 damaged" in capsys.readouterr().err
    _same(state, straight)
    assert len(journal.read_bytes().splitlines()) == 5 + EVALUATIONS - 3


def test_what_was_found_as_json(workdir):
    state, _ = _run(workdir, "generate")
    problem = toy.problem()[0]
    found = found_to_json(state, problem, OPEN)
    read = [architecture_from_json(json.loads(json.dumps(a)), OPEN) for a in found["architectures"]]
    assert tuple(read) == state.architectures
    assert found["scores"].tolist() == scores(state, problem).tolist()
    assert found["parts"]["score"].tolist() == state.parts[:, 0].tolist()
    assert found["seconds_at"].tolist() == state.seconds.tolist()
    assert found["params"].tolist() == [toy.cost(one) for one in read]


def test_configs_name_every_method():
    assert set(SEARCHES) == set(METHODS)
