"""The report's page and figures."""

import sys

import jax
import numpy as np
import pytest

from nasgen.networks import costs
from nasgen.networks.plans.open import make_plan
from nasgen.report import write_report
from nasgen.report.finalists import finalists_in_words
from nasgen.spaces import graphs
from nasgen.spaces.open import OPS, SPACE
from nasgen.types import (
    KINDS,
    METRICS,
    Architecture,
    Budget,
    Cell,
    MacroArchitecture,
    Stage,
    Task,
)

TASK = Task("digits", (8, 8, 1), 10)
BUDGET = Budget(params=40_000, macs=3_000_000)
ARCHITECTURE = Architecture(
    MacroArchitecture((Stage(0, 8, 1, 2), Stage(1, 16, 2, 1)), 16),
    (Cell((1, 4), ((0, 1), (1, 2), (2, 3))), Cell((9, 0), ((0, 1), (0, 2), (1, 3), (2, 3)))),
)
RESULTS = {
    "seed": 0,
    "test_accuracy": 0.975,
    "test_examples": 360,
    "validation_accuracy": 0.981,
    "kept_step": 20,
    "method.ours.exact": 32,
    "method.ours.best_score": 4.25,
    "method.random.exact": 33,
    "method.random.odd_measure": 7,
    "seconds.design": 12.0,
    "seconds.train": 30.5,
    "compile_seconds.train": 6.25,
}
HISTORY = [
    {"step": 10, "kind": "train", "loss": 2.0},
    {"step": 20, "kind": "train", "loss": 1.0},
    {"step": 20, "kind": "eval", "accuracy": 0.981, "loss": 0.4},
]
CANDIDATES = {
    "params": np.array([10_000, 50_000, 30_000]),
    "macs": np.array([1e6, 1e6, 2.5e6]),
    "exact": np.array([True, False, True]),
    "winner": 2,
}


def _write(folder, **changes) -> str:
    options = {
        "candidates": CANDIDATES,
        "curves": {"ours": [1.0, 4.25], "random": [0.5, 0.5]},
        "history": HISTORY,
        "architecture": ARCHITECTURE,
        "space": SPACE,
        "task": TASK,
        "budget": BUDGET,
    }
    results = changes.pop("results", RESULTS)
    return write_report(folder, results, **{**options, **changes}).read_text()


def _without(monkeypatch, package: str) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("style", "plots", "cell_graph"):
        monkeypatch.delitem(sys.modules, f"nasgen.report.{name}", raising=False)
        monkeypatch.delattr(f"nasgen.report.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)


def test_report_tells_what_was_asked_and_what_came_out(tmp_path):
    text = _write(tmp_path, figures=False, config={"budget.params": 40_000, "task.path": None})
    used = costs.count(make_plan(ARCHITECTURE, OPS, TASK))
    assert f"| 40,000 | {used.params:,} | {100 * used.params / 40_000:.0f} % |" in text
    assert f"| 3,000,000 | {used.macs:,} |" in text
    assert "Test accuracy: 97.5 % (95 % interval 95.3 to 98.7 %, 360 images)" in text
    assert "| validation | 98.1 % |" in text
    assert "| nasgen | 32 | 4.25 |  |" in text and "| random search | 33 |  | 7 |" in text
    assert "| train | 30.5 | 6.2 |" in text and "| **all** | **42.5** | **6.2** |" in text
    assert "| `task.path` | not set |" in text
    assert "![" not in text and not (tmp_path / "figures").exists()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("multi_label", "finds 10 labels in images of 8x8x1"),
        ("regression", "predicts 10 numbers from images of 8x8x1"),
    ],
)
def test_report_of_other_kinds_is_in_their_words(tmp_path, kind, says):
    pytest.importorskip("matplotlib")
    task = TASK._replace(kind=kind, metric=KINDS[kind].metric, loss=KINDS[kind].loss)
    name, one = task.metric, METRICS[task.metric]
    figures = {f"test_{name}{end}": value for end, value in (("", 3), ("_low", 2), ("_high", 4))}
    results = {k: v for k, v in RESULTS.items() if "accuracy" not in k} | figures
    results[f"validation_{name}"] = 3.5
    history = [*HISTORY[:2], {"step": 20, "kind": "eval", name: 3.5, "loss": 0.4}]
    (tmp_path / "network").mkdir()
    text = _write(tmp_path, task=task, results=results, history=history)
    assert says in text and "accuracy" not in text.lower() and "classes" not in text
    amounts = ("300.0 %", "200.0", "400.0 %") if one.fraction else ("3", "2", "4")
    wanted = "{} (95 % interval {} to {}, 360 images)".format(*amounts)
    assert f"**Test {one.title}: {wanted}.**" in text
    assert ("a little too low" in text) == (kind == "regression")
    assert ("the numbers predicted for each image" in text) == (kind == "regression")
    plots = pytest.importorskip("nasgen.report.plots")
    left, right = plots.training_curves(history, task, chosen=20).axes
    assert [*right.lines[0].get_ydata()] == [350 if one.fraction else 3.5]
    assert one.title in right.get_title(loc="left")
    assert left.get_ylabel() != "cross-entropy"


def test_sections_without_facts_are_left_out(tmp_path):
    text = _write(tmp_path, results={}, curves={}, history=[], candidates={}, figures=False)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# A network for digits", "## Asked and delivered", "## The network"]
    assert "None" not in text and "nan" not in text


FINALISTS = {
    "networks": [
        {"rank": 1, "fitness": 4.25, "params": 29_000, "macs": 1_500_000},
        {"rank": 3, "fitness": 4.0, "params": 28_000, "macs": 1_400_000},
        {"rank": None, "fitness": None, "params": 9_000, "macs": 90_000},
    ],
    "rounds": [
        {"steps": 60, "networks": [0, 1, 2], "values": [None, 0.9, 0.85]},
        {"steps": 120, "networks": [1, 2], "values": [0.91, 0.934]},
    ],
    "winner": 2,
}


def test_finalists_stand_in_a_row_each_and_the_winner_is_bold(tmp_path):
    text = _write(tmp_path, figures=False, finalists=FINALISTS)
    header = "| Chosen by | Score | Parameters | MACs | After 60 steps | After 120 steps |"
    rows = text.split("## The finalists")[1].split("## The training")[0].strip().splitlines()
    assert rows[0] == header
    assert rows[2:5] == [
        "| score, rank 1 | 4.25 | 29,000 | 1,500,000 | did not train |  |",
        "| score, rank 3 | 4.0 | 28,000 | 1,400,000 | 90.0 % | 91.0 % |",
        "| **drawn at random** |  | 9,000 | 90,000 | 85.0 % | 93.4 % |",
    ]
    words = finalists_in_words(FINALISTS, TASK)
    assert words.endswith("of 3 finalists, trained briefly for 60, then 120 steps; drawn at random")
    assert finalists_in_words({**FINALISTS, "winner": 1}, TASK).endswith("rank 3 by score")


def test_report_links_the_exported_files(tmp_path):
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "model.py").write_text("")
    text = _write(tmp_path, figures=False)
    assert "python network/predict.py photo.png images.npy" in text
    assert "[model.py](network/model.py)" in text


def test_without_matplotlib_the_page_says_how_to_get_figures(tmp_path, monkeypatch):
    _without(monkeypatch, "matplotlib")
    text = _write(tmp_path)
    assert "pip install matplotlib" in text and "![" not in text


def test_figures_are_those_the_page_shows(tmp_path):
    pytest.importorskip("matplotlib")
    text = _write(tmp_path)
    shown = {line.split("](")[1].rstrip(")") for line in text.splitlines() if line[:2] == "!["}
    there = {f"figures/{path.name}" for path in (tmp_path / "figures").iterdir()}
    assert shown == there and len(there) == 4
    assert all((tmp_path / name).stat().st_size > 5_000 for name in there)
    assert "pip install" not in text


def test_plots_show_the_numbers_they_are_given():
    plots = pytest.importorskip("nasgen.report.plots")
    figure = plots.search_curves({"ours": [1.0, 4.25], "random": []})
    first, second = figure.axes[0].lines
    assert [*first.get_xdata()] == [1, 2] and [*first.get_ydata()] == [1.0, 4.25]
    assert len(second.get_xdata()) == 0
    left, right = plots.training_curves(HISTORY, TASK, chosen=20).axes
    assert [*left.lines[0].get_ydata()] == [2.0, 1.0]
    assert [*right.lines[0].get_ydata()] == [pytest.approx(98.1)]
    assert [*right.lines[1].get_xdata()] == [20]
    fits, exact = np.array([True, False, True]), np.array([False, False, True])
    figure = plots.candidates(
        CANDIDATES["params"], CANDIDATES["macs"], BUDGET, fits=fits, exact=exact, winner=2
    )
    points = [group.get_offsets()[:, 0].tolist() for group in figure.axes[0].collections]
    assert points == [[50_000], [10_000, 30_000], [30_000], [30_000]]


# ---- cells as graphs ----------------------------------------------------------------------------


def _cells() -> list[Cell]:
    full = Cell((0,) * 6, tuple((i, j) for i in range(8) for j in range(i + 1, 8)))
    return [full, *graphs.unpack(SPACE.sample(jax.random.key(0), 150))]


def _bezier(curve) -> np.ndarray:
    """Points along the cubic pieces of a route."""
    points, t = np.array(curve), np.linspace(0, 1, 12)[:, None]
    pieces = [points[i : i + 4] for i in range(0, len(points) - 1, 3)]
    return np.concatenate(
        [
            (1 - t) ** 3 * p[0]
            + 3 * (1 - t) ** 2 * t * p[1]
            + 3 * (1 - t) * t**2 * p[2]
            + t**3 * p[3]
            for p in pieces
        ]
    )


def test_no_edge_runs_through_a_box_and_no_box_over_another():
    graph = pytest.importorskip("nasgen.report.cell_graph")
    for cell in _cells():
        places = graph.layout(cell)
        curves = np.concatenate([_bezier(curve) for curve in graph.routes(cell, places)])
        seen: dict[int, list[float]] = {}
        for column, y in places.boxes:
            left, right = places.columns[column]
            x_inside = (curves[:, 0] > left + 1e-6) & (curves[:, 0] < right - 1e-6)
            assert not (x_inside & (np.abs(curves[:, 1] - y) < graph.HEIGHT / 2 + 0.05)).any()
            assert all(abs(y - other) > graph.HEIGHT for other in seen.get(column, []))
            seen.setdefault(column, []).append(y)
        assert (curves[:, 1] >= places.low - 1e-6).all()
        assert (curves[:, 1] <= places.high + 1e-6).all()
        assert places.columns[-1][1] <= graph.style.WIDTH - 2 * graph.MARGIN


def test_every_edge_arrives_at_its_child():
    graph = pytest.importorskip("nasgen.report.cell_graph")
    for cell in _cells():
        places = graph.layout(cell)
        tips = graph.arrow_tips(cell, places)
        ends = {tuple(np.round(curve[-1], 6)) for curve in graph.routes(cell, places)}
        assert len(set(tips)) == len(cell.edges)
        assert {tuple(np.round(tip, 6)) for tip in tips} <= ends
        for (_, child), (x, y) in zip(cell.edges, tips, strict=True):
            column, middle = places.boxes[child]
            assert x == places.columns[column][0] and abs(y - middle) < graph.HEIGHT / 2


def test_drawing_has_a_box_a_node_and_a_title_a_stage():
    graph = pytest.importorskip("nasgen.report.cell_graph")
    (axes,) = graph.draw_stages(ARCHITECTURE, OPS).axes
    texts = [text.get_text() for text in axes.texts]
    assert "Stage 1:  1 cell,  16 channels,  stride 2" in texts
    assert texts.count("in") == texts.count("out") == 2
    assert {"avg_pool\n1×1", "avg_pool\n3×3", "conv\n3×3", "dil_conv\n1×1"} <= set(texts)
    plain, high = (
        graph.draw_stages(ARCHITECTURE, OPS, headline=h) for h in ("", "mine: 20 k params")
    )
    assert high.get_figheight() > plain.get_figheight()
    assert "mine: 20 k params" in [text.get_text() for text in high.axes[0].texts]
    (axes,) = graph.draw_stages(ARCHITECTURE, OPS, series=True).axes
    texts = {text.get_text() for text in axes.texts}
    assert {"avg_pool\n1", "avg_pool\n3", "conv\n3", "dil_conv\n1"} <= texts
