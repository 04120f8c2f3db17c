"""From shipped weights to networks for a new task and budget: seconds in a fresh process.

A process of its own, with an empty cache of compiled programs, does what a user would type:
imports, weights, networks within the budget, ranked. Everything counts, compiling too.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from nasgen.pipeline.config import COMMON, UserError, check, optional, text, whole, wholes
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.training.progress import progress

RULES = {
    **COMMON,
    "pretrained": text(),
    "seeds": wholes(0, 2**31),
    "size": whole(2, 1024),
    "channels": whole(1, 16),
    "classes": whole(2, 100_000),
    "num": whole(1, 10_000),
    **{f"budget.{name}": optional(whole(1)) for name in ("params", "macs", "activation_memory")},
}
_PROGRAM = """
import json, sys, time

started = time.perf_counter()
name, seed, size, channels, classes, num, budget = json.loads(sys.argv[1])

import jax
import nasgen
from nasgen.compile_clock import CLOCK  # counts from here on

params = nasgen.load_pretrained(name)
task = nasgen.Task("new", (size, size, channels), classes)
budget = nasgen.Budget(**budget)
networks = nasgen.generate(params, jax.random.key(seed), task, budget, num=num)
seconds = time.perf_counter() - started

from nasgen.networks.costs import count_many
from nasgen.search.problem import fits
from nasgen.spaces.open import OPS

inside = fits(count_many(networks, OPS, task), budget)
found = {"networks": len(networks), "over_budget": int((~inside).sum()), "compile": CLOCK.seconds}
print(json.dumps({"python": seconds, **found}))
"""


def run(config: ConfigDict, workdir: Workdir) -> None:
    """A process for each seed, then results.json. Raises UserError for a config that is off and for
    a request that cannot be met."""
    check(config, RULES)
    rows = []
    with progress(len(config.seeds), label="fresh processes") as report:
        for seed in config.seeds:
            rows.append(_one(config, seed))
            report(len(rows), f"{rows[-1]['seconds']:.0f} s")
    results: dict[str, Any] = {"seeds": list(config.seeds)}
    for name, short in (("seconds_to_networks", "seconds"), ("seconds_compile", "compile")):
        values = [row[short] for row in rows]
        results |= {name: float(np.median(values)), f"{name}/all": values}
    for name in ("networks", "over_budget"):
        results[name] = sum(row[name] for row in rows)
    write_results(workdir, results)


def _one(config: ConfigDict, seed: int) -> dict[str, Any]:
    """Seconds from the start of the process to its end, and what it found."""
    request = [config.pretrained, seed, config.size, config.channels, config.classes, config.num]
    request.append(config.budget.to_dict())
    with tempfile.TemporaryDirectory() as empty:
        env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": empty}
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, json.dumps(request)],
            env={**env, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        raise UserError(done.stderr.strip().splitlines()[-1])
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}
