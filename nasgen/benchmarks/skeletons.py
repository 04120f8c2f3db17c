"""Small skeletons against the paper's: which cheap scoring set-up orders cells in the same way.

The same random `open` cells are scored in every set-up (cells, channels, batch, resolution). A
set-up's Spearman with the reference, proxy by proxy, says how well its ranks stand for those of the
reference; the reference with other weights and images says how well it stands for itself.
"""

from typing import Any

import jax
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen import statistics
from nasgen.benchmarks import scores, tables
from nasgen.benchmarks.scores import Job, Scored
from nasgen.data.natural import natural_batch
from nasgen.keys import children, generator
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.config import COMMON, UserError, check, number, one_of, whole, wholes
from nasgen.pipeline.labels import Skeleton, in_skeleton, skeleton_task
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.proxies import PROXIES
from nasgen.report import skeletons as report
from nasgen.spaces import SPACES, graphs
from nasgen.types import Cell

NAMES = ("snip_snr", "nwot_outputs", "t_cet")
CEILING = "ceiling"
RULES = {
    **COMMON,
    "num": whole(3, 100_000),
    "num_ceiling": whole(0, 100_000),
    "chunk": whole(1, 100_000),
    "images": one_of(("natural", "cifar10")),
    "threshold": number(0, 1),
    "bootstrap": whole(2, 100_000),
}
SETUP_RULES = {
    "channels": wholes(1, 1_024),
    "strides": wholes(1, 2),
    "repeats": wholes(1, 20),
    "final_width": whole(1, 4_096),
    "size": whole(8, 256),
    "batch": whole(2, tables.CIFAR10_IMAGES),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Scores every set-up, writes results.json and report.md. Raises UserError for a bad config."""
    setups = read_setups(config)
    jobs = prepare(config, setups)
    found = {}
    for name, job in jobs.items():
        scores.run(workdir, job, config.chunk)
        found[name] = scores.read(workdir, job, config.chunk)
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    results = compare(key, found, config.reference, config.threshold, config.bootstrap)
    report.write_report(workdir.path, results, {n: s._asdict() for n, s in setups.items()})
    write_results(workdir, results)


def read_setups(config: ConfigDict) -> dict[str, Skeleton]:
    """The set-ups by name. Raises UserError."""
    names = tuple(config.get("setups") or ())
    rules = {f"setups.{name}.{key}": rule for name in names for key, rule in SETUP_RULES.items()}
    check(config, {**RULES, "reference": one_of(names), **rules})
    if CEILING in names:
        raise UserError(f"`config.setups` must not use the name `{CEILING}`: it is taken.")
    setups = {name: Skeleton(**config.setups[name].to_dict()) for name in names}
    for name, one in setups.items():
        lengths = {len(one.channels), len(one.strides), len(one.repeats)}
        if len(lengths) > 1:
            raise UserError(
                f"`config.setups.{name}`: channels, strides and repeats must be as many; "
                f"got {len(one.channels)}, {len(one.strides)} and {len(one.repeats)}."
            )
    return setups


def prepare(config: ConfigDict, setups: dict[str, Skeleton]) -> dict[str, Job]:
    """The jobs, the reference and its repetition first."""
    if config.images == "cifar10":
        tables.require(tables.LOSSLESS)
    key = jax.random.key(config.seed)
    cells = graphs.unpack(SPACES["open"].sample(jax.random.fold_in(key, 1), config.num))
    reference = setups[config.reference]
    jobs = {config.reference: _job(config.reference, reference, key, cells, config.images)}
    if config.num_ceiling:
        other = jax.random.fold_in(key, 3)
        some = cells[: config.num_ceiling]
        jobs[CEILING] = _job(CEILING, reference, other, some, config.images)
    for name, setup in setups.items():
        if name != config.reference:
            jobs[name] = _job(name, setup, key, cells, config.images)
    return jobs


def _job(name: str, setup: Skeleton, key: Key[Array, ""], cells: list[Cell], images: str) -> Job:
    keys, task = children(key, "images", "weights"), skeleton_task(setup)
    if images == "natural":
        batch = natural_batch(keys["images"], setup.batch, task)
    else:
        try:
            batch = tables.cifar10_batch(generator(keys["images"]), setup.batch, setup.size)
        except ValueError as error:
            raise UserError(f"`config.setups.{name}`: {error}") from None

    def make_plans(rows: range) -> list[Plan]:
        networks = [in_skeleton(cells[row], setup) for row in rows]
        return [make_plan(network, SPACES["open"].ops, task) for network in networks]

    proxies = {name: PROXIES[name] for name in NAMES}
    return Job(name, len(cells), make_plans, proxies, keys["weights"], *batch)


def compare(
    key: Key[Array, ""],
    found: dict[str, Scored],
    reference: str,
    threshold: float,
    num_samples: int,
) -> dict[str, Any]:
    """`setups/NAME/PROXY/spearman` with the reference and its interval, `setups/NAME/seconds_each`,
    the same under `ceiling/`, and `cheapest`: the quickest set-up whose every Spearman is at least
    `threshold` (None where there is none)."""
    results: dict[str, Any] = {"reference": reference, "threshold": threshold}
    agreeing = []
    for name, scored in found.items():
        start = name if name == CEILING else f"setups/{name}"
        results[f"{start}/seconds_each"] = scored.seconds
        values = []
        for proxy in NAMES:
            own = scored.values[proxy]
            pair = own, found[reference].values[proxy][: len(own)]
            kept = statistics.all_finite(*pair)
            pair = (side[kept] for side in pair)
            weights = statistics.bootstrap_weights(generator(key), num_samples, int(kept.sum()))
            spearman = statistics.with_interval(statistics.spearman, *pair, weights)
            values.append(spearman[""])
            results |= {f"{start}/{proxy}/spearman{end}": v for end, v in spearman.items()}
            results[f"{start}/{proxy}/left_out"] = int((~kept).sum())
        if name != CEILING and min(values) >= threshold:
            agreeing.append(name)
    quickest = sorted(agreeing, key=lambda name: found[name].seconds)
    results["cheapest"] = quickest[0] if quickest else None
    return results
