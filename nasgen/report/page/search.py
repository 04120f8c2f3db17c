"""The search in figures: the best so far, the Pareto picture, candidates and the budget, and how
far the scores at initialisation agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from nasgen.networks.costs import count
from nasgen.report.card import SCORES, short
from nasgen.report.page.elements import (
    STAR,
    Chart,
    amount,
    axis,
    cost_axis,
    grid,
    height_axis,
    legend,
    line,
    look,
    method_title,
)
from nasgen.report.page.run import WINNER, Run
from nasgen.search.pareto import hypervolume, objectives, pareto_set
from nasgen.search.problem import finite
from nasgen.statistics import spearman

_COSTS = {"params": "parameters", "macs": "MACs"}
_DRAWN, _SCORED = 2_000, 600  # candidates in a picture, and scored networks of a method


def scores_of(found: Mapping[str, Any]) -> Float[np.ndarray, " networks"]:
    """Of one method; -inf where a score is no number."""
    return finite(np.array(found["scores"], float))


def score_title(run: Run) -> str:
    """What the fitness is called."""
    name = str(run.config.get("design.fitness", "score"))
    return SCORES.get(name, name)


def best_so_far(run: Run, *, over: str) -> Chart | None:
    """The best score of each method over exact scores (`over="scores"`) or its own `seconds`."""
    series = []
    for number, (name, found) in enumerate(run.methods.items()):
        if points := best_points(found, over):
            series.append(line(method_title(name), points, number, step="end"))
    if not series:
        return None
    named = {"scores": "networks scored exactly", "seconds": "seconds of the search"}[over]
    option = {
        "legend": legend(),
        "grid": grid(),
        "tooltip": {"trigger": "axis"},
        "xAxis": axis(named, min=1 if over == "scores" else 0, minInterval=over == "scores"),
        "yAxis": height_axis(f"best {score_title(run)}", scale=True),
        "series": series,
    }
    compiles = (
        "" if over == "scores" else " Compiling is in them; networks of a round share theirs."
    )
    return Chart(f"best-over-{over}", f"Best score so far over {named}.{compiles}", option)


def best_points(found: Mapping[str, Any], over: str) -> list[list[float]]:
    """Where the best score of a method changes, and the last point; over exact scores (`scores`) or
    `seconds`. Empty where these are not kept."""
    best = np.maximum.accumulate(scores_of(found))
    at = np.arange(1, len(best) + 1) if over == "scores" else found.get("seconds_at")
    if at is None or not len(best):
        return []
    at = np.asarray(at, float)
    kept = np.isfinite(best) & (np.diff(best, prepend=-np.inf) > 0)
    kept[-1] = np.isfinite(best[-1])
    return [[round(float(x), 3), float(y)] for x, y in zip(at[kept], best[kept], strict=True)]


def tip_of(run: Run, name: str, title: str, params: int, macs: int, score: float) -> list[str]:
    """What stands beside a network that the pointer is on."""
    opens = ["Click: its cells"] if name in run.networks else []
    costs = f"{params:,} parameters, {macs:,} MACs"
    return [title, costs, f"{score_title(run)}: {amount(score)}", *opens]


def winner_place(run: Run) -> tuple[str, int] | None:
    """The method and place of the winner among what was scored."""
    if run.finalists and run.finalists["winner"] is not None:
        scored = run.finalists["networks"][run.finalists["winner"]]["scored"]
        return None if scored is None else (next(iter(run.methods)), scored)
    if run.finalists is None and WINNER in run.networks and run.methods:
        ours = next(iter(run.methods))
        return ours, int(np.argmax(scores_of(run.methods[ours])))
    return None


def pareto(run: Run, cost: str) -> Chart | None:
    """Score against one cost of all that was scored, what no other of the same method beats as a
    line, the bound, and each method's hypervolume."""
    volumes, series, bound = hypervolumes(run, cost), [], getattr(run.budget, cost)
    chosen = winner_place(run)
    for number, (name, found) in enumerate(run.methods.items()):
        scores, costs = scores_of(found).tolist(), found[cost]
        points = [
            {
                "value": [costs[i], scores[i]],
                "net": f"{name}-{i}",
                "tip": tip_of(
                    run,
                    f"{name}-{i}",
                    f"{method_title(name)}, network {i + 1}",
                    found["params"][i],
                    found["macs"][i],
                    scores[i],
                ),
                **(STAR if chosen == (name, i) else {}),
            }
            for i in drawn(found, cost)
        ]
        volume = f", hypervolume {volumes[name]:.3f}" if name in volumes else ""
        title = f"{method_title(name)}{volume}"
        dots = {"type": "scatter", "name": title, "data": points, "symbolSize": 9, **look(number)}
        series.append({**dots, "z": 3})
        front = [[costs[i], scores[i]] for i in pareto_of(found, cost)]
        quiet = {"silent": True, "symbol": "none", "tooltip": {"show": False}}
        series.append(line(title, front, number, step="end") | quiet | {"showSymbol": False})
    if not series:
        return None
    if bound is not None:
        series[0]["markLine"] = bound_line("xAxis", bound, f"at most {short(bound)}")
    option = {
        "legend": legend(type="plain"),
        "grid": grid(top=54 + 24 * (len(run.methods) - 1), right=44),
        "tooltip": {"trigger": "item", "tips": True},
        "xAxis": cost_axis(_COSTS[cost], _costs_in(run, cost), axis),
        "yAxis": height_axis(score_title(run), scale=True),
        "series": series,
    }
    told = (
        f"Score against {_COSTS[cost]}: a line joins what no other network of the same method beats"
        " in both. Hypervolume: the share of the box from the worst score at the bound to the best"
        " score at no cost that these dominate; designs that use a budget up dominate little of it."
    )
    star = " The star is the network that was delivered." if chosen else ""
    return Chart(f"pareto-{cost}", told + star, option, height=380)


def _costs_in(run: Run, cost: str) -> list[float]:
    """One cost of all that was scored, and its bound: what an axis has to show."""
    bound = getattr(run.budget, cost)
    return [c for one in run.methods.values() for c in one[cost]] + ([bound] if bound else [])


def bound_line(side: str, value: float, text: str) -> dict[str, Any]:
    """A bound of the budget across a drawing."""
    return {
        "silent": True,
        "symbol": "none",
        "lineStyle": {"color": "var(--ink)", "type": "dashed", "width": 1.5},
        "label": {
            "formatter": text,
            "color": "var(--ink)",
            "position": "end" if side == "xAxis" else "insideEndTop",
        },
        "data": [{side: value}],
    }


def pareto_of(found: Mapping[str, Any], cost: str) -> list[int]:
    """Places of what no other network of the method beats in score and cost, the cheapest first."""
    costs = np.asarray(found[cost], float)
    kept = np.flatnonzero(pareto_set(objectives(scores_of(found), costs)))
    return kept[np.argsort(costs[kept], kind="stable")].tolist()


def drawn(found: Mapping[str, Any], cost: str) -> list[int]:
    """Places of what is drawn: all that has a score, or the best, the Pareto set and a spread."""
    scores = scores_of(found)
    there = np.flatnonzero(np.isfinite(scores))
    if len(there) <= _SCORED:
        return there.tolist()
    best = there[np.argsort(-scores[there], kind="stable")[: _SCORED // 2]]
    spread = there[np.linspace(0, len(there) - 1, _SCORED // 2).astype(int)]
    return np.unique([*best, *spread, *pareto_of(found, cost)]).tolist()


def hypervolumes(run: Run, cost: str) -> dict[str, float]:
    """Of each method, in one box: from the worst score of all at the bound (without one, at the
    largest cost) to the best score at no cost."""
    found = {
        name: (scores_of(one), np.asarray(one[cost], float)) for name, one in run.methods.items()
    }
    scores = np.concatenate([s for s, _ in found.values()]) if found else np.zeros(0)
    scores = scores[np.isfinite(scores)]
    if not len(scores) or scores.min() == scores.max():
        return {}
    bound = getattr(run.budget, cost) or max(c.max() for _, c in found.values())
    worst, best = np.array([-scores.min(), bound]), np.array([-scores.max(), 0.0])
    return {name: hypervolume(objectives(s, c), worst, best) for name, (s, c) in found.items()}


def candidates(run: Run) -> Chart | None:
    """Parameters against MACs of all that was proposed, the box of the budget, what was scored."""
    if run.candidates is None:
        return None
    params, macs, inside = (run.candidates[name] for name in ("params", "macs", "inside"))
    shown = np.unique(np.linspace(0, len(params) - 1, min(_DRAWN, len(params))).astype(int))
    groups = (("over the budget", ~inside, "var(--faint)"), ("within it", inside, "var(--fourth)"))
    series: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "name": f"{label} ({int(mask.sum()):,})",
            "data": np.stack([params, macs], 1)[shown[mask[shown]]].tolist(),
            "symbolSize": 3.5,
            "symbol": "circle" if label == "within it" else "rect",
            "itemStyle": {"color": colour, "opacity": 0.55},
            "silent": True,
        }
        for label, mask, colour in groups
        if mask.any()
    ]
    name = next(iter(run.methods), None)
    if name is not None:
        found = run.methods[name]
        scores = scores_of(found).tolist()
        points = [
            {
                "value": [p, m],
                "net": f"{name}-{i}",
                "tip": tip_of(run, f"{name}-{i}", f"network {i + 1}", p, m, s),
            }
            for i in drawn(found, "params")
            for p, m, s in [(found["params"][i], found["macs"][i], scores[i])]
        ]
        exact = {"type": "scatter", "name": f"scored exactly ({len(points)})", "data": points}
        series.append({**exact, **look(0), "symbolSize": 9, "z": 3})
    if WINNER in run.networks:
        used = count(run.networks[WINNER].plan)
        tip = ["the network delivered", f"{used.params:,} parameters, {used.macs:,} MACs"]
        star = {"value": [used.params, used.macs], "net": WINNER, "tip": tip}
        series.append({"type": "scatter", "name": "delivered", "data": [star], **STAR, "z": 5})
    for side, bound in (("xAxis", run.budget.params), ("yAxis", run.budget.macs)):
        if bound is not None:
            line_of = bound_line(side, bound, f"at most {short(bound)}")
            series.append({"type": "scatter", "data": [], "markLine": line_of})
    option = {
        "legend": legend(),
        "grid": grid(),
        "tooltip": {"trigger": "item", "tips": True},
        "xAxis": cost_axis("parameters", params.tolist(), axis),
        "yAxis": cost_axis("MACs", macs.tolist(), height_axis),
        "series": series,
    }
    some = "" if len(shown) == len(params) else f" {len(shown):,} of {len(params):,} are drawn."
    return Chart("candidates", f"What was proposed, and the box of the budget.{some}", option)


def agreement(run: Run) -> Chart | None:
    """Spearman's correlation between scores at initialisation, over all that was scored."""
    with_parts = [found["parts"] for found in run.methods.values() if found.get("parts")]
    names = list(with_parts[0]) if with_parts else []
    if len(names) < 2:
        return None
    columns = np.array([[v for parts in with_parts for v in parts[name]] for name in names], float)
    whole = np.isfinite(columns).all(0)
    if whole.sum() < 3:
        return None
    columns = columns[:, whole]
    cells = [
        [i, j, None if np.isnan(r := float(spearman(columns[i], columns[j]))) else round(r, 2)]
        for i in range(len(names))
        for j in range(len(names))
    ]
    data = [
        {
            "value": cell,
            "tip": [f"{names[cell[0]]} and {names[cell[1]]}", f"correlation {cell[2]}"],
            "label": {"color": "var(--paper)" if abs(cell[2]) > 0.6 else "var(--ink)"},
        }
        for cell in cells
        if cell[2] is not None
    ]
    text = {"color": "var(--faint)", "interval": 0}
    option = {
        "grid": grid(left=130, bottom=130, top=16, right=70),
        "tooltip": {"trigger": "item", "tips": True},
        "xAxis": {"type": "category", "data": names, "axisLabel": {**text, "rotate": 90}},
        "yAxis": {"type": "category", "data": names, "inverse": True, "axisLabel": text},
        "visualMap": {
            "min": -1,
            "max": 1,
            "dimension": 2,
            "calculable": False,
            "orient": "vertical",
            "right": 0,
            "top": "middle",
            "itemHeight": 160,
            "text": ["1", "−1"],
            "textStyle": {"color": "var(--ink)"},
            "inRange": {"color": ["var(--cold)", "var(--paper)", "var(--warm)"]},
        },
        "series": [{"type": "heatmap", "data": data, "label": {"show": True, "numbers": 2}}],
    }
    caption = (
        f"Spearman's rank correlation of scores at initialisation over {int(whole.sum())} networks "
        "that were scored: near 1, two of them say the same; near 0, each says its own."
    )
    return Chart("agreement", caption, option, height=460)
