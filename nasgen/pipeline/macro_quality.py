"""What is good when the macro level is pretrained.

The word "quality" is a plug, `SOURCES`: a source gives all networks a score, higher being better,
and the surrogate that ranks candidates later. `t_cet` scores some networks exactly and the others
by a surrogate fitted on these. The word "accuracy" is what the predictor of trained accuracy says
(`trained`), after so many steps of training.

Both are told as `standing`: how far a score stands above that of equal costs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict
from scipy.stats import spearmanr

from nasgen.data.natural import natural_batch
from nasgen.keys import children, generator
from nasgen.models.accuracy import Predictor, steps_seen
from nasgen.models.surrogate import Surrogate, fit_surrogate, predict
from nasgen.networks.features import NAMES, features
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import macro_networks
from nasgen.pipeline.fitness import describe, expected_accuracy
from nasgen.pipeline.macro_networks import OPEN, Networks, Pool
from nasgen.pipeline.workdir import save_arrays
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.training.progress import progress
from nasgen.types import Task

Vectors = Float[np.ndarray, "networks features"]
LOGS = [NAMES.index(name) for name in NAMES if name.startswith("log_")]
LAYERS, PARAMS, PIXELS = map(NAMES.index, ("layers", "log_params", "log_input_pixels"))
_CHUNK = 250  # networks scored at a time, and kept
_FOLDS = 5


class Judged(NamedTuple):
    """scores: of all networks. surrogate: of these scores, on `features`. figures: how good."""

    scores: Float[np.ndarray, " networks"]
    surrogate: Surrogate
    figures: dict[str, Any]


class Source(NamedTuple):
    """judge: `(config, folder, vectors) -> Judged`; the vectors are `features` of the networks.
    stages: what has to run before, `(name, function of config and folder, files)`."""

    judge: Callable[[ConfigDict, Path, Vectors], Judged]
    stages: Callable[[ConfigDict], list[tuple[str, Callable, tuple[str, ...]]]] = lambda config: []


def described(networks: Networks, pool: Pool) -> tuple[Vectors, Float[np.ndarray, "networks n"]]:
    """`features` of all networks, and these with their wiring, as `fitness.describe`: about a
    millisecond each."""
    found, made = [], macro_networks.architectures(networks, pool)
    tasks = macro_networks.tasks_of(networks.tasks)
    with progress(len(tasks), label="describing networks") as report:
        for architecture, task in zip(made, tasks, strict=True):
            found.append(describe(make_plan(architecture, OPEN.ops, task)))
            report(len(found), "")
    rows = np.array(found)
    return rows[:, : len(NAMES)], rows


class Trained(NamedTuple):
    """scores: predicted accuracies of all networks, each after its own `steps`."""

    scores: Float[np.ndarray, " networks"]
    steps: Float[np.ndarray, " networks"]


def trained(
    predictor: Predictor, rows: Float[np.ndarray, "networks n"], rng: np.random.Generator
) -> Trained:
    """The word "accuracy". The steps are drawn log-uniformly over what the predictor has seen."""
    steps = np.exp(rng.uniform(*np.log(steps_seen(predictor)), len(rows)))
    return Trained(expected_accuracy(predictor, rows, steps), steps)


def standing(
    scores: np.ndarray, vectors: Vectors, steps: np.ndarray | None = None
) -> Float[np.ndarray, " networks"]:
    """Standardised residual of the score given costs, task and steps (a quadratic in their logs),
    within three standard deviations."""
    logs = vectors[:, LOGS]
    if steps is not None:
        logs = np.column_stack([logs, np.log(steps)])
    logs = (logs - logs.mean(0)) / (logs.std(0) + 1e-6)
    rows, columns = np.triu_indices(logs.shape[1])
    inputs = np.column_stack([np.ones(len(logs)), logs, logs[:, rows] * logs[:, columns]])
    residual = scores - inputs @ np.linalg.lstsq(inputs, scores, rcond=None)[0]
    return (residual / residual.std()).clip(-3, 3)


def t_cet(config: ConfigDict, folder: Path, vectors: Vectors) -> Judged:
    """T-CET: exact for `num_scored` networks of their own, of few image sizes so that they share
    compiled programs, and by the surrogate fitted on these for all. The figures are of networks
    that are held out, each in one of `_FOLDS` fits."""
    scored, known, figures = _scored(config, folder)
    order = generator(children(_key(config), "folds")["folds"]).permutation(len(known))
    fold, guess = order % _FOLDS, np.empty(len(known))
    for held in (fold == number for number in range(_FOLDS)):
        guess[held] = predict(fit_surrogate(scored[~held], known[~held]), scored[held])
    figures |= agreement(guess, known, scored)
    surrogate = fit_surrogate(scored, known)
    return Judged(predict(surrogate, vectors), surrogate, figures)


def agreement(guess, known, vectors: Vectors) -> dict[str, Any]:
    """Spearman of guessed and known scores: of all, within bands of equal params (of which a score
    that only says "bigger" gets none), and of each size of image; that of the layers beside it."""
    log_params = vectors[:, PARAMS]
    edges = np.quantile(log_params, [0.25, 0.5, 0.75])
    bands = np.digitize(log_params, edges)
    sizes = np.rint(np.exp(vectors[:, PIXELS] / 2)).astype(int)
    figures = {
        "surrogate_spearman": _spearman(guess, known),
        "layers_spearman": _spearman(vectors[:, LAYERS], known),
        "params_spearman": _spearman(log_params, known),
    }
    for name, column in (("surrogate", guess), ("layers", vectors[:, LAYERS])):
        within = [_spearman(column[bands == b], known[bands == b]) for b in range(4)]
        figures[f"{name}_spearman_in_bands"] = float(np.mean(within))
        figures[f"{name}_spearman_in_bands/all"] = within
    for size in np.unique(sizes):
        rows = sizes == size
        if rows.sum() > 3:
            figures[f"surrogate_spearman/{size}px"] = _spearman(guess[rows], known[rows])
    return figures


def _spearman(a, b) -> float:
    return float(spearmanr(a, b).statistic)


def _key(config: ConfigDict) -> Key[Array, ""]:
    return jax.random.fold_in(jax.random.key(config.seed), 5)


def score_chunks(config: ConfigDict) -> list[str]:
    """The files of exact scores, in order."""
    return [f"scores_{i:03d}.npz" for i in range(-(-config.networks.num_scored // _CHUNK))]


def score_chunk(config: ConfigDict, folder: Path, *, index: int) -> dict[str, Any]:
    """Exact T-CET of one chunk of the networks in `scored.npz`, on one batch of natural images a
    task, all of the same weights' key."""
    networks = macro_networks.load(folder / "scored.npz")
    rows = np.arange(len(networks.tasks))[index * _CHUNK : (index + 1) * _CHUNK]
    networks = macro_networks.take(networks, rows)
    pool = macro_networks.load_pool(folder)
    made = macro_networks.architectures(networks, pool)
    tasks = macro_networks.tasks_of(networks.tasks)
    plans = [make_plan(one, OPEN.ops, task) for one, task in zip(made, tasks, strict=True)]
    keys = children(_key(config), "images", "weights")
    scores = np.full(len(plans), np.nan)
    with progress(len(plans), label=f"scoring networks {rows[0]}..{rows[-1]}") as report:
        done = 0
        for task in dict.fromkeys(tasks):
            own = [i for i, other in enumerate(tasks) if other == task]
            scores[own] = _score([plans[i] for i in own], task, keys, config)
            done += len(own)
            report(done, f"{task.input_shape[0]} px")
    vectors = np.array([features(plan) for plan in plans])
    save_arrays(folder / score_chunks(config)[index], scores=scores, features=vectors)
    return {"num_scored": len(scores), "num_not_finite": int((~np.isfinite(scores)).sum())}


def _score(plans: Sequence, task: Task, keys, config: ConfigDict) -> Float[np.ndarray, " plans"]:
    images, labels = natural_batch(keys["images"], config.networks.batch, task)
    proxies = {"t_cet": PROXIES["t_cet"]}
    return score(plans, proxies, keys["weights"], images, labels).values["t_cet"]


def _scored(config: ConfigDict, folder: Path) -> tuple[Vectors, np.ndarray, dict[str, Any]]:
    """Features and scores of the networks whose exact score is finite."""
    vectors, scores = [], []
    for name in score_chunks(config):
        with np.load(folder / name) as file:
            vectors.append(file["features"])
            scores.append(file["scores"])
    vectors, scores = np.concatenate(vectors), np.concatenate(scores)
    finite = np.isfinite(scores)
    figures = {"num_scored": int(finite.sum()), "num_not_finite": int((~finite).sum())}
    return vectors[finite], scores[finite], figures


def score_stages(config: ConfigDict) -> list[tuple[str, Callable, tuple[str, ...]]]:
    """A stage for every chunk of exact scores."""
    names = enumerate(score_chunks(config))
    return [(Path(n).stem, partial(score_chunk, index=i), (n,)) for i, n in names]


# What `config.fitness` may name.
SOURCES: dict[str, Source] = {"t_cet": Source(t_cet, score_stages)}
