"""Fits predictors of trained accuracy on the table of trained networks.

A row is a network at one number of steps; its target is the logit of its accuracy, standardised
among the rows of its task and steps.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import spearmanr
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge

from nasgen.data import parquet
from nasgen.models.accuracy import SCORES, Predictor, Trees, inputs, predict
from nasgen.networks import features, topology
from nasgen.pipeline.config import UserError

OUTSIDE = -1  # the band of a network that costs less than the band it was searched for


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

    def take(self, chosen: np.ndarray) -> "Rows":
        """Some rows, their targets standardised among themselves."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        parts = {n: getattr(self, n)[chosen] for n in Rows._fields if n not in ("names", "columns")}
        parts["target"] = standardised(parts["accuracy"], parts["task"], parts["steps"])
        return Rows(names=self.names, columns=columns, **parts)


def read_table(path: str):
    """The table of a fitness_table run. Raises UserError where it is none."""
    try:
        parquet.pandas()
        frame = parquet.read(Path(path))
    except ValueError as error:
        raise UserError(str(error)) from None
    except OSError:
        raise UserError(f"`config.table` must be a Parquet file; {path} is none.") from None
    if not {"task", "architecture", "band", "score_batch"} <= set(frame):
        raise UserError(f"`config.table` must be the table of a fitness_table run; got {path}.")
    return frame


def measured_steps(frame) -> list[int]:
    """After how many steps some network was judged, ascending."""
    return sorted(int(n.removeprefix("accuracy_")) for n in frame if n.startswith("accuracy_"))


def read_rows(frame) -> Rows:
    """Rows of the table (a data frame), one for each number of steps that a network was judged at;
    of networks trained twice, the mean accuracy."""
    steps = measured_steps(frame)
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
    """Ridge regression on the inputs and their products with the steps."""
    blank, z = _scaled(rows)
    model = Ridge(alpha=30.0).fit(np.concatenate([z, z * z[:, :1]], 1), rows.target)
    weights, by_steps = np.split(model.coef_, 2)
    return blank._replace(linear=np.append(weights, model.intercept_), by_steps=by_steps)


def fit_trees(rows: Rows) -> Predictor:
    """Boosted trees."""
    blank, z = _scaled(rows)
    return blank._replace(**_boosted(z, rows.target))


def fit_both(rows: Rows) -> Predictor:
    """The mean of both."""
    linear, trees = fit_linear(rows), fit_trees(rows)
    halves = {n: (getattr(linear, n) + getattr(trees, n)) / 2 for n in ("linear", "by_steps")}
    return linear._replace(**halves, trees=trees.trees._replace(value=trees.trees.value / 2))


FITS: dict[str, Callable[[Rows], Predictor]] = {
    "linear": fit_linear,
    "trees": fit_trees,
    "both": fit_both,
}


def without_scores(rows: Rows) -> Rows:
    """The rows with only those inputs that need no score at initialisation."""
    kept = [i for i, name in enumerate(rows.names) if name not in SCORES]
    return rows._replace(names=tuple(rows.names[i] for i in kept), x=rows.x[:, kept])


def held_out(rows: Rows, part: np.ndarray, fit: Callable[[Rows], Predictor]) -> np.ndarray:
    """Each row's prediction by a predictor that saw no row of the same part."""
    found = np.empty(len(rows.target))
    for one in np.unique(part):
        mine = part == one
        found[mine] = predict(fit(rows.take(~mine)), rows.x[mine])
    return found


def groups(rows: Rows, least: int = 8) -> dict[tuple[str, int, int], np.ndarray]:
    """Row numbers by task, band and steps, of the groups with at least so many networks; those
    outside of all bands are in none."""
    found: dict[tuple[str, int, int], list[int]] = {}
    for row in np.flatnonzero(rows.band != OUTSIDE):
        key = (str(rows.task[row]), int(rows.band[row]), int(rows.steps[row]))
        found.setdefault(key, []).append(row)
    return {key: np.array(one) for key, one in sorted(found.items()) if len(one) >= least}


def cross_validated(rows: Rows, fit: Callable[[Rows], Predictor], *, folds: int, seed: int):
    """Mean Spearman within groups of predictions for networks that the fit did not see."""
    numbers, own = np.unique(rows.network, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(numbers)) % folds
    guess = held_out(rows, fold[own], fit)
    each = [spearmanr(guess[one], rows.accuracy[one])[0] for one in groups(rows, 3).values()]
    return float(np.nanmean(each))


def _scaled(rows: Rows) -> tuple[Predictor, np.ndarray]:
    """A predictor of nothing with the scaling of the inputs, and the scaled inputs."""
    x = np.where(np.isfinite(rows.x), rows.x, np.nan)
    mean, scale = np.nanmean(x, 0), np.nanstd(x, 0) + 1e-6
    low, high = np.nanmin(x, 0), np.nanmax(x, 0)
    leaf = np.zeros((1, 1), np.int32)
    nothing = Trees(leaf, np.zeros((1, 1)), leaf, leaf, np.zeros((1, 1)))
    blank = Predictor(
        rows.names, mean, scale, low, high, np.zeros(x.shape[1] + 1), np.zeros(x.shape[1]), nothing
    )
    return blank, (np.where(np.isnan(x), mean, x) - mean) / scale


def _boosted(z: np.ndarray, target: np.ndarray) -> dict:
    model = GradientBoostingRegressor(
        n_estimators=400,
        learning_rate=0.04,
        max_depth=3,
        min_samples_leaf=4,
        subsample=0.6,
        max_features=0.2,
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
