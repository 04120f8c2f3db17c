"""How fast networks train on this machine, against the same networks in PyTorch in the same run.

ResNet-20 and one generated network: forward, backward and the optimizer's step on one batch of
noise. PyTorch (`training_torch`, eager, the faster of its memory formats) builds both from the same
plans; from the same weights it must give the same logits, and the same losses before and after a
step, to `AGREE`. Then both take turns for some rounds, who begins changing, with a pause between
them, since the threads of either wait busily for more. A round's ratio is that of its two times:
medians over rounds, with bootstrap intervals. At last each layer's parts alone (`training_parts`).

Only an idle machine gives a ratio that means something: where other work takes the cores, PyTorch's
threads wait busily for one another, and lose far more than ours.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from nasgen import processes, published
from nasgen.arrays import flatten
from nasgen.benchmarks import reference, training_parts
from nasgen.generation import generate, load_pretrained
from nasgen.keys import children, generator
from nasgen.networks.costs import count
from nasgen.networks.network import Network, init_network
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.config import COMMON, UserError, check, optional, text, whole
from nasgen.pipeline.workdir import Workdir, write_json, write_results
from nasgen.spaces.open import OPS
from nasgen.statistics import median_with_interval
from nasgen.training.progress import announce, progress
from nasgen.training.recipe import Recipe, optimizer
from nasgen.training.state import TrainState, init_state, train_step
from nasgen.training.supervised import task_loss
from nasgen.types import Architecture, Budget, Task

RULES = {
    **COMMON,
    "pretrained": text(),
    "budget.params": optional(whole(1)),
    "budget.macs": optional(whole(1)),
    "batch": whole(2, 4096),
    "size": whole(4, 512),
    "num_classes": whole(2, 100_000),
    "rounds": whole(1, 1000),
    "steps": whole(1, 1000),
    "part_rounds": whole(0, 1000),
    "reference_python": optional(text()),
}
SCRIPT = Path(__file__).with_name("training_torch.py")
INSTALL = "pip install torch==2.13.0"
AGREE = 1e-4  # of the largest logit, and of a loss
PAUSE = 0.3  # s between turns
# So many steps that the learning rate stays at its peak: PyTorch's side has no schedule.
RECIPE = Recipe(steps=10**9, warmup_fraction=0.0, learning_rate=0.01, label_smoothing=0.0)


class Batch(NamedTuple):
    """images `[batch, height, width, channels]`, labels `[batch]` and the same as distributions."""

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


class Training(NamedTuple):
    """A network in training on one batch, as nasgen trains it.

    weights: it starts from. logits: of its first training pass. step: the compiled step, which
    donates its state. seconds_compile: of the step."""

    plan: Plan
    weights: dict[str, Any]
    logits: np.ndarray
    state: TrainState
    batch: tuple[Array, Array]
    step: Callable
    seconds_compile: float


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Measures, then writes training.md and results.json. Raises UserError for a bad config."""
    check(config, RULES)
    if config.reference_python is not None:
        reference.check_python(config.reference_python, SCRIPT, INSTALL)
    keys = children(jax.random.key(config.seed), "generated", "batch", "weights")
    task = Task("benchmark", (config.size, config.size, 3), config.num_classes)
    networks = networks_of(config, keys["generated"], task)
    batch = noise(keys["batch"], task, config.batch)
    trainings = {}
    for name, one in networks.items():
        announce(name, "compiling its training step")
        trainings[name] = compiled(make_plan(one, OPS, task), keys["weights"], batch)
    process, about = _start(config, workdir.path / "torch", list(trainings.values()), batch)
    try:
        found = [
            _measure(config, name, number, training, process)
            for number, (name, training) in enumerate(trainings.items())
        ]
    finally:
        if process is not None:
            reference.stop(process)
    tables = {name: rows for name, (_, rows) in zip(trainings, found, strict=True)}
    (workdir.path / "training.md").write_text(training_parts.page(tables), encoding="utf-8")
    figures: dict[str, Any] = {"batch": config.batch, "cpu_count": processes.cpu_count(), **about}
    for name, (own, rows) in zip(trainings, found, strict=True):
        figures |= {f"{name}/{k}": v for k, v in own.items()}
        figures |= {f"{name}/parts/{kind}": row for kind, row in rows.items()}
    seconds = [training.seconds_compile for training in trainings.values()]
    write_results(workdir, {**figures, "seconds_compile": sum(seconds)})


def networks_of(config: ConfigDict, key: Array, task: Task) -> dict[str, Architecture]:
    """ResNet-20 by hand, and the generated network of which most is expected."""
    try:
        bundle, budget = load_pretrained(config.pretrained), Budget(**config.budget.to_dict())
        (generated,) = generate(bundle, key, task, budget, num=1)
    except ValueError as error:
        raise UserError(str(error)) from None
    return {"resnet20": published.architecture_of("resnet20"), "generated": generated}


def noise(key: Array, task: Task, size: int) -> Batch:
    """So many images of noise, with labels at random."""
    rng = generator(key)
    images = rng.standard_normal((size, *task.input_shape), np.float32)
    labels = rng.integers(0, task.num_classes, size)
    return Batch(images, labels, np.eye(task.num_classes, dtype=np.float32)[labels])


def compiled(plan: Plan, key: Array, batch: Batch) -> Training:
    """A network with fresh weights, ready to be trained on the batch."""
    network, tx, weights = Network(plan), optimizer(RECIPE), init_network(key, plan)
    given = jax.device_put((batch.images, batch.targets))
    forward = jax.jit(lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"])[0])
    logits = np.asarray(forward(weights, given[0]))
    stats = {"batch_stats": weights["batch_stats"]}
    state = init_state(weights["params"], tx, key, model_state=stats)
    task = Task("benchmark", plan.input_shape, plan.num_classes)
    step = jax.jit(train_step(task_loss(network, RECIPE, task), tx), donate_argnums=0)
    started = time.perf_counter()
    program = step.lower(state, given).compile()
    seconds = time.perf_counter() - started
    return Training(plan, weights, logits, state, given, program, seconds)


def train(training: Training, times: int) -> tuple[float, list[float]]:
    """Seconds of so many steps together, and the loss of each, before its update."""
    state, losses = jax.block_until_ready(jax.tree.map(jnp.copy, training.state)), []
    started = time.perf_counter()
    for _ in range(times):
        state, metrics = training.step(state, training.batch)
        losses.append(metrics["loss"])
    jax.block_until_ready((state, losses))
    return time.perf_counter() - started, [float(loss) for loss in losses]


def _start(
    config: ConfigDict, folder: Path, trainings: Sequence[Training], batch: Batch
) -> tuple[reference.Reference | None, dict[str, Any]]:
    """PyTorch's process over the networks, and what it says of itself."""
    if config.reference_python is None:
        return None, {
            "skipped": "no PyTorch: name the Python of an environment with it as "
            f"config.reference_python ({INSTALL})"
        }
    folder.mkdir(parents=True, exist_ok=True)
    write_networks(folder, trainings, batch)
    return reference.launch(config.reference_python, SCRIPT, folder)


def write_networks(folder: Path, trainings: Sequence[Training], batch: Batch) -> None:
    """Plans, weights, batch and recipe as the other side reads them, see there."""
    networks = []
    for number, training in enumerate(trainings):
        steps = [
            {"name": s.name, "layer": s.layer._asdict(), "inputs": s.inputs}
            for s in training.plan.steps
        ]
        parts = [(layer._asdict(), size) for layer, size in training_parts.parts_of(training.plan)]
        networks.append({"steps": steps, "parts": parts})
        kinds = {step.name: step.layer.kind for step in training.plan.steps}
        arrays = {
            name: reference.to_torch(kinds[name.split("/")[0]], array)
            if name.endswith("/kernel")
            else array
            for name, array in flatten(training.weights["params"]).items()
        }
        np.savez(folder / f"weights_{number}.npz", **arrays)
    write_json(folder / "networks.json", networks)
    recipe = dict(lr=RECIPE.learning_rate, momentum=RECIPE.momentum)
    write_json(folder / "recipe.json", {**recipe, "weight_decay": RECIPE.weight_decay})
    np.savez(folder / "batch.npz", images=batch.images, labels=batch.labels)


def _measure(
    config: ConfigDict,
    name: str,
    number: int,
    training: Training,
    process: reference.Reference | None,
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Figures of one network, and the rows of its table."""
    costs = count(training.plan)
    figures: dict[str, Any] = {n: getattr(costs, n) for n in ("params", "macs", "layers")}
    figures["seconds_compile"] = training.seconds_compile
    _, losses = train(training, 2)
    sides: dict[str, Callable[[], float]] = {"nasgen": lambda: train(training, config.steps)[0]}
    if process is not None:
        theirs = reference.ask(process, f"load {number}")
        theirs["losses"] = reference.ask(process, f"step {number} 2")["losses"]
        figures |= compare(training, losses, theirs)
        request = f"step {number} {config.steps}"
        sides["PyTorch"] = lambda: reference.ask(process, request)["seconds"]
    rounds = take_turns(name, sides, config.rounds)
    figures |= speeds(config.seed, rounds, config.batch * config.steps)
    rows = _measure_parts(config, name, number, training.plan, process)
    rows["the whole step"] = {
        side: 1e3 * float(np.median(values)) / config.steps for side, values in rounds.items()
    }
    return figures, rows


def _measure_parts(
    config: ConfigDict, name: str, number: int, plan: Plan, process: reference.Reference | None
) -> dict[str, dict[str, float]]:
    """The table's rows of kinds of layers: of each part the least of its seconds."""
    if config.part_rounds == 0:
        return {}
    parts = training_parts.parts_of(plan)
    announce(name, f"compiling {len(parts)} parts")
    runs = training_parts.programs(list(parts), config.batch)
    sides: dict[str, Callable[[], list[float]]] = {"nasgen": lambda: [_seconds(r) for r in runs]}
    if process is not None:
        sides["PyTorch"] = lambda: reference.ask(process, f"parts {number}")["seconds"]
    turns = take_turns(f"{name}, parts", sides, config.part_rounds + 1)  # the first warms up
    least = {side: np.min(values[1:], 0).tolist() for side, values in turns.items()}
    rows = training_parts.by_kind(parts, least)
    rows["sum of the parts"] = {side: sum(row[side] for row in rows.values()) for side in least}
    return rows


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(training: Training, losses: Sequence[float], theirs: dict[str, Any]) -> dict[str, Any]:
    """How far the two sides lie apart. Raises RuntimeError where they are not one network."""
    params, logits = count(training.plan).params, np.array(theirs["logits"])
    if params != theirs["params"]:
        raise RuntimeError(f"PyTorch's network has {theirs['params']} params, ours {params}")
    found = {"logits": float(abs(logits - training.logits).max() / abs(logits).max())}
    names = ("loss", "loss_after_a_step")
    for name, ours, other in zip(names, losses, theirs["losses"], strict=True):
        found[name] = abs(ours - other) / abs(other)
    for name, value in found.items():
        if not value <= AGREE:
            raise RuntimeError(f"{name} differs from PyTorch's by {value:.2g} of it")
    named = {f"relative_difference/{name}": value for name, value in found.items()}
    return {**named, "torch_memory_format": theirs["memory_format"]}


def take_turns(
    label: str, sides: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, list[Any]]:
    """What each side answers in each round; a side begins every other round."""
    found: dict[str, list[Any]] = {side: [] for side in sides}
    with progress(rounds, label=label) as report:
        for done in range(rounds):
            for side in list(sides)[:: -1 if done % 2 else 1]:
                time.sleep(PAUSE)
                found[side].append(sides[side]())
            report(done + 1, "")
    return found


def speeds(seed: int, rounds: dict[str, list[float]], images: int) -> dict[str, Any]:
    """Images a second of each side and the ratio of their times, medians over rounds with
    intervals. images: of a round."""
    seconds = {side: np.array(values) for side, values in rounds.items()}
    figures: dict[str, Any] = {}

    def note(name: str, values: Float[np.ndarray, " rounds"]) -> None:
        rng = np.random.default_rng(seed)
        median, interval = median_with_interval(rng, values.tolist())
        figures.update({name: median, f"{name}/interval": interval, f"{name}/all": values})

    note("images_per_second", images / seconds["nasgen"])
    if "PyTorch" in seconds:
        note("torch_images_per_second", images / seconds["PyTorch"])
        note("ratio_vs_torch", seconds["PyTorch"] / seconds["nasgen"])
    return figures
