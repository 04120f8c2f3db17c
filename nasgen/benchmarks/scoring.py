"""How fast networks are scored, against the reference library in PyTorch in the same run.

Random cells of the space `open` in one skeleton, SNIP-SNR and layer-wise NWOT together, one network
at a time. nasgen and the reference take turns on the same networks with the same weights, for some
rounds, of which a network's least seconds count: what else the machine does only adds. A speed is
one over the median of the networks' seconds. Before, nasgen compiles what cells of that skeleton
can need, seen on a systematic set of other cells (`warmup_cells`); after that a new network must
compile nothing, which is counted by JAX's own events. Then the same, once, for a network of the
paper's authors with about 1 G MACs.
"""

import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen.benchmarks import reference, tables
from nasgen.compile_clock import CLOCK
from nasgen.keys import children, generator
from nasgen.networks.costs import count
from nasgen.networks.padding import draw_weights
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.config import COMMON, UserError, check, optional, text, whole, wholes
from nasgen.pipeline.environment import release_memory
from nasgen.pipeline.labels import Skeleton, in_skeleton
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.proxies.passes import compile_for
from nasgen.spaces import SPACES, formats, graphs
from nasgen.training.progress import announce, progress
from nasgen.types import Architecture, Cell, Op, Task

RULES = {
    **COMMON,
    "num_networks": whole(1, 100_000),
    "rounds": whole(1, 100),
    "batch": whole(2, 4096),
    "size": whole(1, 512),
    "num_classes": whole(2, 100_000),
    "skeleton.channels": wholes(8, 1024),
    "skeleton.strides": wholes(1, 2),
    "skeleton.final_width": whole(8, 1024),
    "reference_python": optional(text()),
    "one_gmac.path": optional(text()),
    "one_gmac.index": whole(0, 1000),
    "one_gmac.num_classes": whole(2, 100_000),
}
OPEN = SPACES["open"]
PAIR = {name: PROXIES[name] for name in ("snip_snr", "nwot_layers")}
NETWORKS = "hgen_networks_cifar.json"  # of the reference folder, NASGEN_REFERENCE


class Setting(NamedTuple):
    """What is scored: networks on one batch, all with weights from one key."""

    architectures: Sequence[Architecture]
    plans: Sequence[Plan]
    images: np.ndarray
    labels: np.ndarray
    task: Task
    key: jax.Array


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Measures, then writes results.json. Raises UserError for a config that is off."""
    check(config, RULES)
    if len(config.skeleton.channels) != len(config.skeleton.strides):
        raise UserError("`config.skeleton.strides` must be as many as `config.skeleton.channels`.")
    networks = _reference_networks(config)
    if config.reference_python is not None:
        reference.check_python(config.reference_python)
    keys = children(jax.random.key(config.seed), "cells", "batch", "weights")
    skeleton = Skeleton(**config.skeleton.to_dict())
    figures: dict[str, Any] = {"num_networks": config.num_networks}
    cells = graphs.unpack(OPEN.sample(keys["cells"], config.num_networks))
    random = _setting(config, keys, config.num_classes, [in_skeleton(c, skeleton) for c in cells])
    warmup = _setting(
        config, keys, config.num_classes, [in_skeleton(c, skeleton) for c in warmup_cells()]
    )
    figures |= _measure(
        "random cells", random, warmup.plans, config, workdir.path / "torch", rounds=config.rounds
    )
    if networks is None:
        figures["one_gmac/skipped"] = f"no {NETWORKS}: set NASGEN_REFERENCE or config.one_gmac.path"
    else:
        one = formats.architecture_from_json(networks[config.one_gmac.index], OPEN)
        setting = _setting(config, keys, config.one_gmac.num_classes, [one])
        folder = workdir.path / "torch_one_gmac"
        found = _measure("1 G MACs", setting, setting.plans, config, folder, rounds=1)
        figures |= {f"one_gmac/{name}": value for name, value in found.items()}
        figures["one_gmac/macs"] = count(setting.plans[0]).macs
    write_results(workdir, figures)


def _reference_networks(config: ConfigDict) -> list | None:
    """The paper's CIFAR networks, None where their file is absent."""
    path = config.one_gmac.path
    if path is None:
        path = tables.reference_folder() / NETWORKS
        if not path.is_file():
            return None
    try:
        networks = json.loads(Path(path).read_text())
        networks[config.one_gmac.index]["cells"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"`config.one_gmac.path` must be a JSON list with an architecture at "
            f"`config.one_gmac.index`; {path}: {type(error).__name__}: {error}"
        ) from None
    return networks


def _setting(config: ConfigDict, keys, num_classes: int, architectures) -> Setting:
    task = Task("benchmark", (config.size, config.size, 3), num_classes)
    rng = generator(keys["batch"])
    images = rng.standard_normal((config.batch, *task.input_shape), np.float32)
    labels = rng.integers(0, num_classes, config.batch)
    plans = [make_plan(one, OPEN.ops, task) for one in architectures]
    return Setting(architectures, plans, images, labels, task, keys["weights"])


def warmup_cells() -> list[Cell]:
    """Every op where its input is raw and where it is not, and sums of every number of arrays at
    every place, with and without ReLU: between them, networks of these cells run every program that
    a network of any cells in their skeleton runs."""
    every = [(u, v) for v in range(1, 8) for u in range(v)]
    wide = [edge for node in range(1, 7) for edge in ((0, node), (node, 7))]
    chain = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    cells = [Cell((op, op), chain) for op in range(len(OPEN.ops))]
    for kind in ("conv", "sep_conv"):
        op = OPEN.ops.index(Op(kind, 1))
        cells += [Cell((op,) * 6, tuple(sorted(edges))) for edges in (every, wide)]
    return cells


def _measure(
    label: str,
    setting: Setting,
    warmup: Sequence[Plan],
    config: ConfigDict,
    folder: Path,
    *,
    rounds: int,
) -> dict[str, Any]:
    """Warms up, then lets nasgen and the reference take turns over the networks."""

    def ours(plan: Plan) -> dict[str, float]:
        found = score([plan], PAIR, setting.key, setting.images, setting.labels).values
        return {name: float(values[0]) for name, values in found.items()}

    started = time.perf_counter()
    announce(label, f"compiling what {len(warmup)} networks need")
    needs = [need for proxy in PAIR.values() for need in proxy.needs]
    compiled = compile_for(warmup, needs, config.batch)
    ours(min(warmup, key=lambda plan: count(plan).macs))
    figures = {"seconds_warmup": time.perf_counter() - started, "programs": compiled}
    events = CLOCK.count
    if config.reference_python is None:
        figures["skipped"] = (
            "no PyTorch reference: name the Python of an environment with it as "
            f"config.reference_python ({reference.INSTALL})"
        )
        rows = _take_turns(label, setting.plans, ours, None, rounds)
    else:
        with_weights = [(p, draw_weights(generator(setting.key), p)) for p in setting.plans]
        process = reference.start(
            *(config.reference_python, folder, setting.architectures, OPEN, setting.images),
            *(setting.labels, setting.task.num_classes),
            weights=with_weights,
        )
        try:
            if len(setting.plans) > 1:
                reference.ask(process, 0)
            rows = _take_turns(label, setting.plans, ours, process, rounds)
        finally:
            reference.stop(process)
    return (
        figures
        | _summary(rows)
        | {
            "compiles_after_warmup": CLOCK.count - events,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


def _take_turns(
    label: str,
    plans: Sequence[Plan],
    ours: Callable[[Plan], dict[str, float]],
    process: reference.Reference | None,
    rounds: int,
) -> list[dict[str, float]]:
    """A row of figures for each network: the least seconds over the rounds, the last of others."""
    rows: list[dict[str, float]] = [{} for _ in plans]
    with progress(rounds * len(plans), label=label) as report:
        for done in range(rounds * len(plans)):
            number = done % len(plans)
            started = time.perf_counter()
            row = ours(plans[number])
            row["seconds"] = time.perf_counter() - started
            row["params"] = count(plans[number]).params
            if process is not None:
                if rounds == 1:  # one network alone, which may take most of the memory
                    release_memory()
                answer = reference.ask(process, number)
                row |= {f"torch_{name}": value for name, value in answer.items()}
            before = rows[number]
            least = {n: min(v, before.get(n, v)) for n, v in row.items() if "seconds" in n}
            rows[number] = row | least
            report(done + 1, f"{row['seconds']:.2f} s")
    return rows


def _summary(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Speeds from medians over the networks; how far the two sides' scores lie apart."""
    columns = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
    medians = {name: float(np.median(column)) for name, column in columns.items()}
    figures: dict[str, Any] = {
        "architectures_per_second": 1 / medians["seconds"],
        "seconds/all": columns["seconds"].tolist(),
    }
    if "torch_seconds" not in columns:
        return figures
    if (columns["params"] != columns["torch_params"]).any():
        raise RuntimeError("the reference's networks have other params than ours")
    for name in ("snip_snr", "nwot_layers"):
        theirs = columns[f"torch_{name}"]
        error = np.abs(columns[name] - theirs) / np.maximum(np.abs(theirs), 1e-9)
        figures[f"relative_difference/{name}"] = float(np.median(error))
    return figures | {
        "ratio_vs_torch": medians["torch_seconds"] / medians["seconds"],
        "torch_architectures_per_second": 1 / medians["torch_seconds"],
        "torch_seconds/all": columns["torch_seconds"].tolist(),
        "torch_peak_memory_mb": float(columns["torch_peak_memory_mb"].max()),
        "ratio_vs_torch_bare": medians["torch_seconds_bare"] / medians["seconds"],
        "torch_bare_architectures_per_second": 1 / medians["torch_seconds_bare"],
    }
