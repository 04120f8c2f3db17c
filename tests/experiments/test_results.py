"""RESULTS.md and README's figures are those of the kept runs, which hold no paths and no hosts."""

import json
import re
import shutil
from pathlib import Path

import pytest

from experiments import results
from nasgen.report import kept_results

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_are_what_templates_and_runs_give():
    for name, text in results.pages(ROOT).items():
        assert (ROOT / name).read_text() == text, f"{name}: run `make results`"


def test_kept_runs_hold_no_absolute_paths_and_no_hosts():
    files = sorted((ROOT / "results").rglob("*.json"))
    assert len(files) > 15
    for path in files:
        text = path.read_text()
        assert not re.search(r"(?<![\w.:/])/\w", text), path
        assert '"host"' not in text, path


def test_every_kept_run_is_told_of():
    """Nothing lies in results/ that no page shows."""
    templates = "".join((ROOT / name).read_text() for name in (results.TEMPLATE, results.FIGURES))
    derived = (ROOT / "nasgen/report/derived.py").read_text()
    for folder in (ROOT / "results").iterdir():
        if folder.is_dir():
            assert re.search(rf"\b{folder.name}\b", templates + derived), folder


@pytest.fixture
def copy(tmp_path):
    """A root with short templates, the kept runs and the cards."""
    for name in ("results", "nasgen/pretrained"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "docs").mkdir()
    for name in (results.TEMPLATE, results.FIGURES):
        (tmp_path / name).write_text(
            "A new task: {{bench_new_task: seconds_to_networks | .1f}} s.\n"
        )
    shutil.copy(ROOT / results.README, tmp_path)
    (tmp_path / results.PAGE).write_text("")
    return tmp_path


def test_a_page_that_differs_is_told_and_written_again(copy, capsys):
    assert results.main(["results.py", "--check"], root=copy) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" differs")[0] for line in lines] == [results.PAGE, results.README]
    assert results.main(["results.py"], root=copy) == 0
    assert (copy / results.PAGE).read_text() == "A new task: 28.8 s.\n"
    readme, before = (copy / results.README).read_text(), (ROOT / results.README).read_text()
    assert readme.partition(results.START)[0] == before.partition(results.START)[0]
    assert readme.partition(results.END)[2] == before.partition(results.END)[2]
    assert results.START + "A new task: 28.8 s.\n" + results.END in readme
    assert results.main(["results.py", "--check"], root=copy) == 0


def test_what_is_wrong_is_one_line(copy, capsys):
    (copy / results.FIGURES).write_text("{{bench_serch}}\n")
    assert results.main(["results.py", "--check"], root=copy) == 2
    assert capsys.readouterr().err.endswith("is no run; the nearest is `bench_search`.\n")
    assert results.main(["results.py", "--keep", str(copy / "docs")], root=copy) == 2
    assert "finished run" in capsys.readouterr().err
    assert results.main(["results.py", "--chek"], root=copy) == 2
    assert "--check" in capsys.readouterr().err
    shutil.rmtree(copy / "results/bench_lowerings")
    assert results.main(["results.py"], root=copy) == 2
    line = capsys.readouterr().err
    assert "`derived: lowerings/num` needs 'bench_lowerings', which is not in results/." in line
    (copy / results.README).write_text(results.START)
    shutil.copytree(ROOT / "results/bench_lowerings", copy / "results/bench_lowerings")
    assert results.main(["results.py"], root=copy) == 2
    assert "README.md must have the lines" in capsys.readouterr().err


def test_a_finished_run_is_kept_without_paths_hosts_and_architectures(tmp_path):
    run = tmp_path / "somewhere" / "mine"
    run.mkdir(parents=True)
    command = "run.py --config=c.py --workdir=/home/me/runs/mine --config.task.path=/data/a/b.npz"
    again = "run.py --workdir /home/me/runs/mine --config.task.path='/data/photos'"
    env = {"host": "box", "command": command, "resumed": [{"host": "box", "command": again}]}
    written = {
        "results": {"open/params": 3, "finished": True, "url": "https://a.org/b"},
        "config": {"task": {"path": "/data/a/b.npz"}, "table": "results/t.parquet"},
        "env": env,
        "finalists": {"networks": [{"architecture": {}, "params": 3}], "winner": 0},
    }
    for name, values in written.items():
        (run / f"{name}.json").write_text(json.dumps(values))
    (run / "search.json").write_text("{}")
    assert results.main(["results.py", "--keep", str(run), "bench"], root=tmp_path) == 0
    kept = {
        path.stem: json.loads(path.read_text()) for path in (tmp_path / "results/bench").iterdir()
    }
    assert kept == {
        "results": written["results"],
        "config": {"task": {"path": "b.npz"}, "table": "results/t.parquet"},
        "env": {
            "command": "run.py --config=c.py --workdir=runs/bench --config.task.path=b.npz",
            "resumed": [{"command": "run.py --workdir runs/bench --config.task.path='photos'"}],
        },
        "finalists": {"networks": [{"params": 3}], "winner": 0},
    }


def test_figures_have_the_names_of_their_files_and_places(copy):
    runs = kept_results.load(copy)
    assert runs["bench_search"]["config/budget/params"] == 100_000
    assert runs["quickstart"]["finalists/rounds/0/steps"] == 60
    assert runs["fitness_table"]["config/source"] == "searched"
    assert runs["derived"]["budget/answered"] == 9_364
