"""Whether searching for `predicted_accuracy` pays: networks of one budget, found by each method,
trained by the same short recipe, judged on the test images.

`random` is one network drawn within the budget; `evolution` and `generate` are given the fitness
and equally many exact scores of it. Each seed draws everything anew but the split of the data.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import data, pretrained
from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.pipeline import fitness_training
from nasgen.pipeline.config import UserError, boolean, number, one_of, text, whole
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.fitness_table import BUILT_IN
from nasgen.pipeline.problems import make_problem
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_json
from nasgen.pretrained.bundle import Bundle, load_accuracy, load_bundle
from nasgen.search.draws import draw_within
from nasgen.search.loop import search
from nasgen.search.methods import configured
from nasgen.search.state import scores
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_to_json
from nasgen.statistics import interval_of_mean
from nasgen.training.brief import BriefRecipe
from nasgen.training.progress import announce
from nasgen.types import Architecture, Budget

RULES = {
    "proof.num_seeds": whole(0, 1000),
    "proof.task": one_of(BUILT_IN),
    "proof.pretrained": text(),
    "proof.accuracy": text(),
    "proof.params": whole(1),
    "proof.macs": whole(1),
    "proof.num_exact": whole(4, 100_000),
    "proof.num_proposals": whole(4, 1_000_000),
    "proof.score_batch": whole(2, 4096),
    "proof.num_train": whole(16),
    "proof.num_test": whole(16),
    "proof.steps": whole(1),
    "proof.batch_size": whole(2, 65_536),
    "proof.learning_rate": number(0, above=True),
    "proof.warmup": whole(1),
    "proof.max_shift": whole(0, 512),
    "proof.flip": boolean(),
    "proof.workers": whole(1, 1024),
}
# our name -> the search's
SEARCHES = {"random_search": "random", "evolution": "evolution", "generate": "generate"}
METHODS = ("random", *SEARCHES)
RECIPE = ("batch_size", "learning_rate", "warmup", "max_shift", "flip")
OPEN = SPACES["open"]
_NETWORKS = "proof.json"


def check_inputs(settings: ConfigDict, folder: Path) -> None:
    """Raises UserError where weights or data are not there, before anything is measured."""
    try:
        pretrained.find(settings.pretrained, "macro")
        pretrained.find(settings.accuracy, "accuracy")
        if not (folder / "proof" / _NETWORKS).exists():
            data.load(settings.task, seed=0)
    except ValueError as error:
        raise UserError(str(error).replace("`pretrained`", "weights")) from None


def prove(settings: ConfigDict, workdir: Workdir) -> dict[str, Any]:
    """Searches and trains, each network kept; `METHOD/test_accuracy/median` and `/all`, and by how
    much generate's networks are better seed by seed: `generate/over/METHOD/mean`, `/interval`."""
    folder = workdir.path / "proof"
    folder.mkdir(exist_ok=True)
    stages = [
        Stage("proof_networks", (f"proof/{_NETWORKS}",), partial(_search_all, settings, folder)),
        Stage("proof_trainings", ("proof/parts",), partial(_train, settings, folder)),
    ]
    run_stages(workdir, stages)
    rows = json.loads((folder / _NETWORKS).read_text())
    figures: dict[str, Any] = {}
    for method in METHODS:
        mine = [i for i, row in enumerate(rows) if row["method"] == method]
        parts = [fitness_training.read_part(folder, i) for i in mine]
        values = [float(part["accuracies"][-1]) for part in parts]
        figures |= {
            f"{method}/test_accuracy/median": float(np.median(values)),
            f"{method}/test_accuracy/all": values,
            f"{method}/fitness/median": float(np.median([rows[i]["fitness"] for i in mine])),
        }
    own = np.array(figures["generate/test_accuracy/all"])
    for method in METHODS[:-1]:
        gained = own - figures[f"{method}/test_accuracy/all"]
        figures[f"generate/over/{method}/mean"] = float(gained.mean())
        if len(gained) > 1:
            figures[f"generate/over/{method}/interval"] = interval_of_mean(gained)
    return figures


def _search_all(settings: ConfigDict, folder: Path) -> dict[str, Any]:
    """The networks of all methods and seeds, with their fitness, and the images they train on."""
    dataset = data.load(settings.task, seed=0)
    test = Dataset(dataset.task, dataset.train, dataset.test, dataset.test, None, None)
    fitness_training.save_data(folder, test, settings.num_train, settings.num_test)
    bundle = load_bundle(settings.pretrained)._replace(accuracy=load_accuracy(settings.accuracy))
    fields = {name: settings[name] for name in RECIPE}
    recipe = BriefRecipe(steps=(settings.steps,), **fields)._asdict()
    rows = []
    for seed in range(settings.num_seeds):
        for method, (architecture, fitness) in find(
            settings, dataset, bundle, jax.random.key(seed)
        ).items():
            announce(f"seed {seed}", f"{method} found a network of fitness {fitness:.2f}")
            rows.append(
                {
                    "method": method,
                    "fitness": fitness,
                    "task": dataset.task._asdict(),
                    "architecture": architecture_to_json(architecture, OPEN),
                    "recipe": recipe,
                    "seed": seed,
                    "score_batch": settings.score_batch,
                }
            )
    write_json(folder / _NETWORKS, rows)
    return {"num_networks": len(rows)}


def _train(settings: ConfigDict, folder: Path) -> None:
    rows = json.loads((folder / _NETWORKS).read_text())
    fitness_training.train_all(folder, rows, workers=settings.workers)


def find(
    settings: ConfigDict, dataset: Dataset, bundle: Bundle, key
) -> dict[str, tuple[Architecture, float]]:
    """What each method finds for one seed, and its fitness."""
    keys = children(key, "problem", "batch", *METHODS)
    budget, task = Budget(params=settings.params, macs=settings.macs), dataset.task
    batch = examples_of(keys["batch"], dataset, settings.score_batch)
    options = dict(fitness=PREDICTED_ACCURACY, steps=settings.steps, cells_per_macro=1)
    problem = make_problem(keys["problem"], bundle, task, budget, batch, **options)
    (one,) = draw_within(keys["random"], problem, 1)
    found = {"random": (one, float(problem.measure([one])[0, 0]))}
    settings_of = {"generate": {"proposals": settings.num_proposals}}
    for name, method in SEARCHES.items():
        run = configured(method, settings_of)
        state = search(keys[name], run, problem, settings.num_exact)
        fitness = scores(state, problem)
        best = int(np.argmax(fitness))
        found[name] = state.architectures[best], float(fitness[best])
    return found
