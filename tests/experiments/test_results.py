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
    templates = "".join(path.read_text() for path in (ROOT / results.TEMPLATES).glob("*.md"))
    derived = (ROOT / "nasgen/report/derived.py").read_text()
    for folder in (ROOT / "results").iterdir():
        if folder.is_dir():
            assert re.search(rf"\b{folder.name}\b", templates + derived), folder


FIGURE = "A new task: {{bench_new_task: seconds_to_networks | .1f}} s.\n"


@pytest.fixture
def copy(tmp_path):
    """A root with short templates, the kept runs and the cards."""
    for name in ("results", "nasgen/pretrained"):
        shutil.copytree(ROOT / name, tmp_path / name)
    templates = tmp_path / results.TEMPLATES
    templates.mkdir(parents=True)
    readme = f"<!-- --8<-- [start:time] -->\n{FIGURE}<!-- --8<-- [end:time] -->\n"
    link = "[the time](docs/time.md#here), [where](https://a.b), [below](#below)\n<"
    (templates / "README.md").write_text(readme.replace("\n<", f"\n{link}", 2))
    (templates / "RESULTS.md").write_text(FIGURE)
    (templates / "time.md").write_text('# Time\n\n--8<-- "README.md:time"\n\nMore.\n')
    (tmp_path / "RESULTS.md").write_text("")
    return tmp_path


def test_a_page_that_differs_is_told_and_written_again(copy, capsys):
    assert results.main(["results.py", "--check"], root=copy) == 1
    lines = capsys.readouterr().out.splitlines()
    pages = ["README.md", "RESULTS.md", "docs/time.md"]
    assert [line.split(" differs")[0] for line in lines] == pages
    assert results.main(["results.py"], root=copy) == 0
    assert (copy / "RESULTS.md").read_text().endswith(" -->\n\nA new task: 28.8 s.\n")
    assert results.main(["results.py", "--check"], root=copy) == 0


def test_sections_of_other_pages_keep_their_links(copy, capsys):
    results.main(["results.py"], root=copy)
    _, _, page = (copy / "docs/time.md").read_text().partition("# Time\n")
    links = "[the time](time.md#here), [where](https://a.b), [below](#below)"
    assert page == f"\nA new task: 28.8 s.\n{links}\n\nMore.\n"
    (copy / results.TEMPLATES / "time.md").write_text('--8<-- "README.md:place"\n')
    assert results.main(["results.py"], root=copy) == 2
    line = "error: README.md has no section `place`, which docs/time.md shows.\n"
    assert capsys.readouterr().err == line


def test_what_is_wrong_is_one_line(copy, capsys):
    template = copy / results.TEMPLATES / "RESULTS.md"
    template.write_text("{{bench_serch}}\n")
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


def test_a_finished_run_is_kept_without_paths_hosts_and_architectures(tmp_path):
    run = tmp_path / "somewhere" / "mine"
    run.mkdir(parents=True)
    command = "run.py --config=c.py --workdir=/home/me/runs/mine --config.task.path=/data/a/b.npz"
    again = "run.py --workdir /home/me/runs/mine --config.task.path='/data/photos'"
    env = {"host": "box", "command": command, "resumed": [{"host": "box", "command": again}]}
    env["weights"] = {"/home/me/macro/cells": "0a"}
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
            "weights": {"macro/cells": "0a"},
        },
        "finalists": {"networks": [{"params": 3}], "winner": 0},
    }


def test_figures_have_the_names_of_their_files_and_places(copy):
    runs = kept_results.load(copy)
    assert runs["bench_search"]["config/budget/params"] == 100_000
    assert runs["quickstart"]["finalists/rounds/0/steps"] == 60
    assert runs["fitness_table"]["config/source"] == "searched"
    assert runs["derived"]["budget/answered"] == 9_364
