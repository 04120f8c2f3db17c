"""The page of a run as text: what it says, what it lacks, and that it is one whole file."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from nasgen.networks import costs
from nasgen.networks.plans.open import make_plan
from nasgen.report.cell_layout import layout
from nasgen.report.page import cells, search, training
from nasgen.report.page.comparison import comparison
from nasgen.report.page.html import LIMIT, page
from nasgen.report.page.run import WINNER
from nasgen.spaces.open import OPS
from nasgen.types import KINDS
from tests.report.made_run import ARCHITECTURE, TASK, begun_run, network, task_of, whole_run

FIGURES = {
    "best-over-scores",
    "best-over-seconds",
    "pareto-params",
    "pareto-macs",
    "candidates",
    "metric-space",
    "loss",
    "validation",
    "confusion",
    "agreement",
    "layers",
}
_VOID = {"meta", "link", "img"}


class Elements(HTMLParser):
    """Reads a page; `open` is empty where every element is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        own = dict(attrs)
        self.ids += [own["id"]] if "id" in own else []
        self.addresses += [own[name] for name in ("src", "href") if name in own]
        self.open += [] if tag in _VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def charts(text: str) -> dict:
    """Each figure's option by its name."""
    found = re.findall(r'<script type="application/json" data-chart="([^"]+)">(.*?)</script>', text)
    return {name: json.loads(content)["option"] for name, content in found}


def test_a_whole_run_has_every_figure_and_asks_for_nothing():
    text = page(whole_run())
    elements = Elements(text)
    assert set(charts(text)) == FIGURES <= set(elements.ids)
    assert len(set(elements.ids)) == len(elements.ids) and not elements.open
    assert all(one.startswith(("data:", "#")) for one in elements.addresses)
    assert {one[1:] for one in elements.addresses if one.startswith("#")} <= set(elements.ids)
    assert len(text.encode()) < LIMIT / 2


def test_it_says_what_was_asked_and_what_came_of_it():
    run = whole_run()
    beside = {"resnet/test_accuracy": 0.6, "resnet/params": 9, "resnet/macs": 80}
    text = page(run._replace(results={**run.results, **beside}))
    assert "A network for &lt;digits&gt;" in text and "<digits>" not in text
    assert "75.0 %" in text and "95 % interval 70.0 to 80.0 %; 40 images" in text
    used = costs.count(make_plan(ARCHITECTURE, OPS, TASK))
    assert f"{used.params:,} of 40,000" in text
    assert f"width:{100 * used.macs / 3_000_000:.1f}%" in text
    assert "pretraining of the weights, once for all tasks and not in this: 1 h 00 min" in text
    assert "6 min 15 s" in text  # 60 + 61 + ... + 65 seconds
    assert "python experiments/run.py &#x27;--workdir=a b&#x27;" in text
    assert "Beside it, resnet by hand" in text and "60.0 % with 9 parameters, 80 MACs" in text
    assert "did not train" in text and "score, rank 1</button> ★" in text
    assert 'data-net="finalist-1"' in text and "not on this page" not in text


def test_a_run_that_has_begun_says_what_is_missing():
    text = page(begun_run())
    assert not charts(text) and not Elements(text).open
    assert "This run has not ended; not on this page:" in text
    for line in ("The search: nothing has been scored yet", "The training: has not begun"):
        assert f"<li>{line}</li>" in text
    assert '<li class="note">search</li>' in text and "✓" not in text


@pytest.mark.parametrize("series", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_has_its_own_picture_of_errors(kind, series):
    task = task_of(kind, series=series)
    text = page(whole_run(task))
    wanted = {"classification": "confusion", "regression": "predicted", "multi_label": "labels"}
    assert wanted.get(kind, "errors") in charts(text) and not Elements(text).open
    assert text.count('class="example') >= 4 or text.count('<figure class="example') >= 4
    assert ("data:image/png" in text) != (series and not task.is_dense)


def test_other_pipelines_have_their_figures():
    run = whole_run()._replace(pipeline="bench_toy", results={"finished": True, "a/b": 0.5})
    text = page(run)
    assert "<code>a/b</code>" in text and "A run of bench_toy" not in text
    assert "The training" not in text


def test_the_best_so_far_never_falls_and_scores_that_are_none_are_left_out():
    option = search.best_so_far(whole_run(), over="scores").option
    assert option["series"][0]["data"] == [[1.0, 1.0], [3.0, 3.0], [4.0, 3.0]]
    over = search.best_so_far(whole_run(), over="seconds").option
    assert over["series"][0]["data"] == [[3.0, 1.0], [9.0, 3.0], [12.0, 3.0]]


def test_pareto_sets_and_hypervolumes():
    run = whole_run()
    assert search.pareto_of(run.methods["ours"], "params") == [0, 2]
    # From score .25 at 40,000 params to score 3 at none.
    ours = (1 - 0.25) * (40_000 - 10_000) + (3 - 1) * (40_000 - 30_000)
    volumes = search.hypervolumes(run, "params")
    assert volumes["ours"] == pytest.approx(ours / (2.75 * 40_000))
    option = search.pareto(run, "params").option
    points = option["series"][0]["data"]
    assert [one["net"] for one in points] == ["ours-0", "ours-2", "ours-3"]
    assert "symbol" in points[1] and "symbol" not in points[0]  # the winner's star
    assert points[0]["tip"][-1] == "Click: its cells" and points[2]["tip"][-1] != "Click: its cells"
    assert option["series"][0]["markLine"]["data"] == [{"xAxis": 40_000}]


def test_of_many_scores_the_best_are_drawn_and_the_pareto_set():
    rng = np.random.default_rng(0)
    found = {"scores": rng.normal(size=5_000).tolist(), "params": rng.integers(1, 999, 5_000)}
    shown = search.drawn(found, "params")
    assert len(shown) <= 700 and set(search.pareto_of(found, "params")) <= set(shown)
    assert set(np.argsort(found["scores"])[-200:]) <= set(shown)


def test_agreement_is_spearmans():
    option = search.agreement(whole_run()).option
    values = {tuple(one["value"][:2]): one["value"][2] for one in option["series"][0]["data"]}
    assert values[0, 0] == 1.0 and values[0, 1] == -1.0 and len(values) == 9


def test_confusion_counts():
    run = whole_run()
    data = training.confusion(run).option["series"][0]["data"]
    kept = run.predictions
    for one in data:
        taken, true, share = one["value"]
        own = kept["targets"] == true
        assert share == pytest.approx((kept["predictions"][own] == taken).mean(), abs=1e-4)


def test_classes_that_are_too_many_for_a_matrix_are_told_by_pairs():
    task = TASK._replace(num_classes=80, class_names=())
    kept = {"targets": np.array([3, 3, 5, 7]), "predictions": np.array([4, 4, 6, 7])}
    chart = training.confusion(whole_run()._replace(task=task, predictions=kept))
    assert chart.option["yAxis"]["data"] == ["3 → 4", "5 → 6"]
    assert chart.option["series"][0]["data"] == [2, 1]


def test_costs_on_nodes_are_those_of_the_network():
    plan = network(WINNER, "").plan
    ms = {step.name: 0.5 for step in plan.steps}
    places = cells.costs_of_places(plan, ms)
    used = costs.count(plan)
    assert sum(one.params for one in places.values()) == used.params
    assert sum(one.macs for one in places.values()) == used.macs
    assert sum(one.ms for one in places.values()) == pytest.approx(0.5 * len(plan.steps))
    nodes = {place for place in places if isinstance(place[0], int) and place[1] is not None}
    assert nodes == {(0, 1), (0, 2), (1, 1), (1, 2)}


def test_a_drawn_cell_holds_every_box():
    for cell in ARCHITECTURE.cells:
        text = cells.cell_svg(cell, OPS, {1: cells.Cost(1_234, 5_678_000)})
        assert "1.23 k params" in text and "5.68 M MACs" in text
        assert text.count("<rect") == len(cell.ops) + 2
        width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', text).groups())
        for x, y, wide, tall in re.findall(
            r'x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', text
        ):
            assert int(x) + int(wide) <= width and int(y) + int(tall) <= height
        assert layout(cell, cells.SIZES).height == cells.SIZES.height


def test_a_page_holds_no_number_that_json_lacks():
    run = whole_run()
    history = [*run.history, {"step": 40, "kind": "train", "loss": float("nan")}]
    text = page(run._replace(history=history))
    assert "NaN" not in "".join(map(json.dumps, charts(text).values()))


# ---- several runs -------------------------------------------------------------------------------


def _runs() -> dict:
    """Two seeds, and a run of another length that has only begun."""
    first, other = whole_run(), whole_run()
    first = first._replace(config={**first.config, "seed": 0})
    other = other._replace(
        config={**other.config, "seed": 1}, results={**other.results, "test_accuracy": 0.85}
    )
    begun = begun_run()
    begun = begun._replace(config={**begun.config, "seed": 0, "train.steps": 7})
    return {"a": first, "b": other, "c": begun}


def test_several_runs_stand_side_by_side_with_intervals():
    text = comparison(_runs())
    assert not Elements(text).open
    assert text.count("75.0 % (70.0 to 80.0 %) accuracy") >= 1 and "85.0 % (" in text
    # Student's t of two values .75 and .85: .8 plus and minus 12.706 * .05.
    assert "80.0 % (16.5 to 143.5 %)" in text
    assert "(not ended)" in text and "<td><code>train.steps</code></td>" in text
    drawn = charts(text)
    assert [one["name"] for one in drawn["best-over-scores"]["series"]] == ["a", "b"]
    assert [one["name"] for one in drawn["validation"]["series"]] == ["a", "b"]
    bar = drawn["tested"]["series"][0]["markLine"]["data"][0]
    assert [one["coord"][1] for one in bar] == [70.0, 80.0]
    assert drawn["tested"]["yAxis"]["min"] <= 70 and drawn["tested"]["yAxis"]["max"] >= 85


def test_runs_of_different_fitnesses_share_no_curve():
    runs = _runs()
    runs["b"] = runs["b"]._replace(config={**runs["b"].config, "design.fitness": "t_cet"})
    drawn = charts(comparison(runs))
    assert "best-over-scores" not in drawn and "validation" in drawn
