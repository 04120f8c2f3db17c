"""A made-up run of a design, whole or of other kinds of tasks, as the page takes it."""

import numpy as np

from nasgen.networks.plans.open import make_plan
from nasgen.report.page.run import WINNER, Network, Pretraining, Run
from nasgen.spaces.open import OPS
from nasgen.types import KINDS, Architecture, Budget, Cell, MacroArchitecture, Stage, Task

TASK = Task("<digits>", (8, 8, 1), 3, class_names=("one", "two", "three"))
ARCHITECTURE = Architecture(
    MacroArchitecture((Stage(0, 8, 1, 2), Stage(1, 16, 2, 1)), 16),
    (Cell((1, 4), ((0, 1), (1, 2), (2, 3))), Cell((9, 0), ((0, 1), (0, 2), (1, 3), (2, 3)))),
)


def network(name: str, title: str, task: Task = TASK) -> Network:
    return Network(name, title, ARCHITECTURE, make_plan(ARCHITECTURE, OPS, task))


def found(scores, params) -> dict:
    return {
        "architectures": [None] * len(scores),
        "scores": scores,
        "params": params,
        "macs": [100 * one for one in params],
        "seconds": 3.0 * len(scores),
        "seconds_at": [3.0 * (i + 1) for i in range(len(scores))],
        "parts": {"predicted_accuracy": scores, "snip": [-(s or 0) for s in scores],
                  "zen": list(range(len(scores)))},
    }  # fmt: skip


def predictions(task: Task) -> dict:
    """As `pipeline.predictions` keeps them."""
    rng = np.random.default_rng(0)
    inputs = rng.random((4, *task.input_shape))
    if task.is_dense:
        shape = (4, *task.input_shape[:-1])
        maps = rng.integers(0, task.num_classes, shape)
        errors = rng.random(shape[1:])
        return {"targets": maps, "predictions": maps[::-1], "errors": errors, "inputs": inputs,
                "chosen": np.arange(4)}  # fmt: skip
    chosen = np.array([3, 0, 1, 2])
    if task.kind == "classification":
        targets = rng.integers(0, task.num_classes, 40)
        guesses = np.where(np.arange(40) % 4 == 3, (targets + 1) % task.num_classes, targets)
        return {"targets": targets, "predictions": guesses, "confidences": rng.random(40),
                "inputs": inputs, "chosen": chosen}  # fmt: skip
    targets = rng.random((40, task.num_classes))
    targets = (targets > 0.5).astype(float) if task.kind == "multi_label" else 100 * targets
    return {"targets": targets, "predictions": rng.random(targets.shape), "inputs": inputs,
            "chosen": chosen}  # fmt: skip


def task_of(kind: str, *, series: bool = False) -> Task:
    one, shape = KINDS[kind], (24, 2) if series else (8, 8, 3)
    return Task("made", shape, 4, kind=kind, metric=one.metric, loss=one.loss)


def cell_map() -> dict:
    rng = np.random.default_rng(0)
    networks = np.array([-1] * 40 + [0, 0, 1, 1] + [-2, -2])
    return {
        "places": rng.normal(size=(46, 2)),
        "shares": np.array([0.4, 0.2]),
        "conditions": rng.normal(size=(46, 2)) + 8,
        "names": np.array(["log_params", "nwot"]),
        "clusters": np.arange(46) % 2,
        "networks": networks,
        "stages": np.arange(46) % 2,
    }


def whole_run(task: Task = TASK) -> Run:
    """Everything is there."""
    rng, winner = np.random.default_rng(0), network(WINNER, "the network delivered", task)
    names = [step.name for step in winner.plan.steps]
    name, drawn = f"test_{task.metric}", rng.integers(1_000, 90_000, (2, 300))
    history = [{"step": s, "kind": "train", "loss": 3 / s} for s in (10, 20, 30)]
    history += [{"step": s, "kind": "eval", task.metric: s / 40} for s in (10, 20, 30)]
    stages = ("search", "baselines", "finalists", "metric_map", "train", "deliver")
    return Run(
        folder="first",
        pipeline="design",
        config={"design.fitness": "predicted_accuracy", "design.finalists": 1, "task.path": None},
        environment={"command": "experiments/run.py '--workdir=a b'", "packages": {"jax": "1"}},
        results={"finished": True, name: 0.75, f"{name}_low": 0.7, f"{name}_high": 0.8,
                 "test_examples": 40, "kept_step": 20},
        stages={one: {"seconds": 60.0 + i, "seconds_compile": 1.0} for i, one in enumerate(stages)},
        to_come=(),
        budget=Budget(params=40_000, macs=3_000_000),
        task=task,
        data="40 images",
        ops=OPS,
        methods={"ours": found([1.0, None, 3.0, 2.0], [10_000, 20_000, 30_000, 39_000]),
                 "random": found([0.5, 0.25, 1.5], [5_000, 39_000, 20_000])},
        candidates={"params": drawn[0], "macs": 80 * drawn[1], "inside": drawn[0] < 40_000},
        finalists={
            "networks": [{"rank": 1, "fitness": 3.0, "scored": 2, "params": 1, "macs": 2},
                         {"rank": None, "fitness": None, "scored": None, "params": 3, "macs": 4}],
            "rounds": [{"steps": 60, "networks": [0, 1], "values": [0.5, None]}],
            "winner": 0,
        },
        cell_map=cell_map(),
        clusters={0: "large: 5 ops", 1: "small"},
        networks={n: network(n, f"called {n}", task) for n in ("ours-0", "ours-2", "finalist-1")}
        | {WINNER: winner},
        history=history,
        predictions=predictions(task),
        layer_times={"names": names, "ms": [0.1] * len(names), "device": "toy", "batch": 32},
        pretraining=(Pretraining("cells", 3_600.0),),
    )  # fmt: skip


def begun_run() -> Run:
    """Nothing but the task is there."""
    empty = dict(methods={}, candidates=None, finalists=None, cell_map=None, networks={})
    later = dict(history=(), predictions=None, layer_times=None, results={})
    to_come = ("search", "baselines", "finalists", "metric_map", "train", "deliver")
    return whole_run()._replace(**empty, **later, stages={}, to_come=to_come)
