"""Fits predictors of trained accuracy on the table of trained networks.

A row is a network at one number of steps; its target is the logit of its accuracy, standardised
among the rows of its task and steps.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge

from nasgen.models.accuracy import SCORES, Predictor, Trees, inputs
from nasgen.networks import features, topology


class Rows(NamedTuple):
    """names: of the inputs. x: the inputs. accuracy: the trained one, 0..1. target: see above.
    network: rows of one network share its number. task, band, steps: of each row, and `columns`
    single numbers that are known before training, by name."""

    names: tuple[str, ...]
    x: Float[np.ndarray, "rows inputs"]
    accuracy: Float[np.ndarray, " rows"]
    target: Float[np.ndarray, " rows"]
    network: Int[np.ndarray, " rows"]
    task: np.ndarray
    band: Int[np.ndarray, " rows"]
    steps: Int[np.ndarray, " rows"]
    columns: Mapping[str, np.ndarray]

    def take(self, rows: np.ndarray) -> "Rows":
        """Some rows."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        parts = {n: getattr(self, n)[rows] for n in Rows._fields if n not in ("names", "columns")}
        return Rows(names=self.names, columns=columns, **parts)


def read_rows(frame) -> Rows:
    """Rows of the table (a data frame), one for each number of steps that a network was judged at;
    of networks trained twice, the mean accuracy."""
    steps = sorted(int(n.removeprefix("accuracy_")) for n in frame if n.startswith("accuracy_"))
    measured = [f"accuracy_{number}" for number in steps]
    proxies = [name for name in frame if name.startswith("proxy_")]
    known = [f"feature_{n}" for n in (*features.NAMES, *topology.NAMES)]
    costs = ["params", "macs", "depth"]
    keys = ["task", "architecture"]
    same = frame.groupby(keys, sort=False)
    numbers = same[measured].mean()
    first = same[[*proxies, *known, *costs, "band", "score_batch"]].first()
    parts = []
    for name, number in zip(measured, steps, strict=True):
        kept = numbers[name].notna().to_numpy() & (numbers[name] > 0).to_numpy()
        parts.append((np.flatnonzero(kept), np.full(kept.sum(), number), numbers[name][kept]))
    index, taken, accuracy = (np.concatenate(column) for column in zip(*parts, strict=True))
    table = first.iloc[index]
    columns = {n.removeprefix("proxy_"): table[n].to_numpy(float) for n in proxies}
    columns |= {n: table[n].to_numpy(float) for n in costs}
    named = {n.removeprefix("feature_"): table[n].to_numpy(float) for n in known}
    more = {"steps": taken, "images": table["score_batch"].to_numpy(float)}
    made = inputs(named | {n: columns[n] for n in SCORES} | more)
    task = np.array([one for one, _ in first.index])[index]
    return Rows(
        names=tuple(made),
        x=np.stack(list(made.values()), 1),
        accuracy=accuracy,
        target=standardised(accuracy, task, taken),
        network=index,
        task=task,
        band=table["band"].to_numpy(),
        steps=taken,
        columns=columns,
    )


def standardised(accuracy, task, steps) -> Float[np.ndarray, " rows"]:
    """Logits of accuracies, with mean 0 and deviation 1 in each task and number of steps."""
    logit = np.log(np.clip(accuracy, 1e-3, 1 - 1e-3) / (1 - np.clip(accuracy, 1e-3, 1 - 1e-3)))
    found = np.empty(len(logit))
    for one in np.unique(task):
        for number in np.unique(steps):
            group = (task == one) & (steps == number)
            if group.any():
                found[group] = (logit[group] - logit[group].mean()) / (logit[group].std() + 1e-9)
    return found


def fit_linear(rows: Rows) -> Predictor:
    """Ridge regression."""
    blank, z = _scaled(rows)
    model = Ridge(alpha=30.0).fit(z, rows.target)
    return blank._replace(linear=np.append(model.coef_, model.intercept_))


def fit_trees(rows: Rows) -> Predictor:
    """Boosted trees."""
    blank, z = _scaled(rows)
    return blank._replace(**_boosted(z, rows.target))


def fit_both(rows: Rows) -> Predictor:
    """The mean of both."""
    linear, trees = fit_linear(rows), fit_trees(rows)
    halves = trees.trees._replace(value=trees.trees.value / 2)
    return linear._replace(linear=(linear.linear + trees.linear) / 2, trees=halves)


FITS: dict[str, Callable[[Rows], Predictor]] = {
    "linear": fit_linear,
    "trees": fit_trees,
    "both": fit_both,
}


def _scaled(rows: Rows) -> tuple[Predictor, np.ndarray]:
    """A predictor of nothing with the scaling of the inputs, and the scaled inputs."""
    x = np.where(np.isfinite(rows.x), rows.x, np.nan)
    mean, scale = np.nanmean(x, 0), np.nanstd(x, 0) + 1e-6
    low, high = np.nanmin(x, 0), np.nanmax(x, 0)
    leaf = np.zeros((1, 1), np.int32)
    nothing = Trees(leaf, np.zeros((1, 1)), leaf, leaf, np.zeros((1, 1)))
    blank = Predictor(mean, scale, low, high, np.zeros(x.shape[1] + 1), nothing)
    return blank, (np.where(np.isnan(x), mean, x) - mean) / scale


def _boosted(z: np.ndarray, target: np.ndarray) -> dict:
    model = GradientBoostingRegressor(
        n_estimators=200,
        learning_rate=0.04,
        max_depth=3,
        min_samples_leaf=8,
        subsample=0.6,
        max_features=0.3,
        random_state=0,
    ).fit(z, target)
    trees = [one.tree_ for one in model.estimators_[:, 0]]
    nodes = max(tree.node_count for tree in trees)
    own = np.arange(nodes)

    def padded(values: np.ndarray, fill: np.ndarray) -> np.ndarray:
        return np.concatenate([values, fill[len(values) :]])

    rows = []
    for tree in trees:
        leaf = tree.children_left < 0
        here = own[: tree.node_count]
        rows.append(
            Trees(
                padded(np.where(leaf, 0, tree.feature), 0 * own),
                padded(np.where(leaf, 0, tree.threshold), 0.0 * own),
                padded(np.where(leaf, here, tree.children_left), own),
                padded(np.where(leaf, here, tree.children_right), own),
                padded(model.learning_rate * tree.value[:, 0, 0], 0.0 * own),
            )
        )
    linear = np.zeros(z.shape[1] + 1)
    linear[-1] = float(np.ravel(model.init_.constant_)[0])
    return {"linear": linear, "trees": Trees(*map(np.stack, zip(*rows, strict=True)))}
