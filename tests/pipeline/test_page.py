"""The page of a folder: of a run that has begun, of one half done, and of what is none."""

import json

import jax
import numpy as np
import pytest

from experiments import compare, run
from experiments.configs import quickstart
from nasgen import data
from nasgen.pipeline.kept_search import kept_search
from nasgen.pipeline.page import read_run, write_comparison, write_page
from nasgen.pipeline.task_data import keep_task, read_task
from nasgen.pipeline.workdir import TASK, close_workdir, discard_workdir, open_workdir
from nasgen.report.page.run import OURS
from nasgen.spaces import SPACES
from nasgen.types import Task
from tests.search import toy
from tests.search.test_methods import method


@pytest.fixture
def folder(tmp_path):
    """A run of digits that has begun to search."""
    workdir = open_workdir(tmp_path / "run", quickstart.get_config())
    digits = data.load("digits", seed=0)
    keep_task(digits, workdir.path)
    problem, _ = toy.problem()
    options = dict(space=SPACES["open"])
    kept_search(workdir, "nasgen", jax.random.key(0), method("generate"), problem, 5, **options)
    close_workdir(workdir)
    return workdir.path


def test_a_search_that_goes_on_shows_what_it_has(folder):
    found = read_run(folder)
    assert not found.stages and found.to_come[0] == "search"
    assert list(found.methods) == [OURS] and len(found.methods[OURS]["scores"]) == 5
    assert len(found.networks) == 5 and found.budget.params == 30_000
    assert found.task.name == "digits" and "1,079 images to train on" in found.data
    assert {one.part for one in found.pretraining} >= {"cells", "macro"} and found.clusters[0]
    text = write_page(folder).read_text()
    assert 'id="best-over-seconds"' in text and "The training: has not begun" in text
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]


def test_fewer_networks_can_be_looked_at_where_room_is_scarce(folder):
    assert len(read_run(folder, most=2).networks) < 5
    assert not read_run(folder, most=0).networks


def test_a_folder_of_an_earlier_version_has_a_page(folder):
    (folder / TASK).unlink()
    assert "A run of design" in write_page(folder).read_text()


def test_the_task_comes_back(tmp_path):
    digits = data.load("digits", seed=0)
    task = Task("toy", (8, 2), 3, kind="multi_label", class_names=("a", "b", "c"))
    keep_task(digits._replace(task=task), tmp_path)
    assert read_task(tmp_path)[0] == task


def test_a_run_that_only_kept_its_task_leaves_nothing_behind(tmp_path):
    workdir = open_workdir(tmp_path / "run", quickstart.get_config())
    keep_task(data.load("digits", seed=0), workdir.path)
    discard_workdir(workdir)
    assert not list(tmp_path.iterdir())


def test_the_commands(folder, tmp_path, capsys):
    assert run.main(["run.py", f"--report={folder}"]) == 0
    page = tmp_path / "both.html"
    assert compare.main(["compare.py", str(folder), f"--out={page}"]) == 0
    assert "Runs side by side" in page.read_text() and "digits" in page.read_text()
    assert str(folder / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("main", "arguments", "says"),
    [
        (run.main, ["--report={tmp}"], "holds none"),
        (run.main, ["--report="], "must name the workdir"),
        (run.main, ["--report"], "must name the workdir"),
        (run.main, ["--report={tmp}", "--config=x.py"], "not beside `--config=x.py`"),
        (run.main, ["--report={tmp}/none"], "holds none"),
        (compare.main, ["{tmp}"], "holds none"),
        (compare.main, ["{tmp}", "{tmp}"], "named twice"),
    ],
)
def test_what_is_no_run_is_one_line(main, arguments, says, tmp_path, capsys):
    given = [one.replace("{tmp}", str(tmp_path)) for one in arguments]
    assert main(["command", *given]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and says in line
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_one_line(folder, capsys):
    assert compare.main(["compare.py", str(folder), f"--out={folder}/no/page.html"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_names_tell_runs_apart(folder, tmp_path):
    other = tmp_path / "again" / "run"
    other.parent.mkdir()
    folder.rename(other)
    (tmp_path / "run").mkdir()
    for name in ("config.json", "env.json"):
        (tmp_path / "run" / name).write_text((other / name).read_text())
    text = write_comparison([tmp_path / "run", other], tmp_path / "page.html").read_text()
    assert "again/run" in text and f"{tmp_path.name}/run" in text


def test_a_score_that_is_no_number_is_kept_as_null(folder):
    kept = json.loads(next((folder / "searches").glob("*.json")).read_text())
    assert set(kept) >= {"scores", "parts", "seconds_at", "architectures"}
    assert np.all(np.diff(kept["seconds_at"]) >= 0)
