"""How well latencies of whole networks are predicted from a table of layers' times.

    predictor.json  the table, the predictor, and what they cost
    networks.json   of each test network its predicted and its measured ms

The test networks are random `open` ones, drawn anew: none of them served the fit.
"""

import json
import time

import jax
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict
from scipy.stats import spearmanr

from nasgen.keys import children
from nasgen.networks import costs
from nasgen.networks.latency import device_name
from nasgen.networks.latency_model import held_out, predict
from nasgen.pipeline.config import COMMON, check, whole, wholes
from nasgen.pipeline.latency import (
    Effort,
    measure,
    measure_networks,
    measured_from_json,
    measured_to_json,
    random_plans,
)
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_json, write_results

RULES = {
    **COMMON,
    "num_networks": whole(3, 10_000),
    "batch": whole(1, 4096),
    "effort.layers": whole(5, 10_000),
    "effort.networks": whole(4, 10_000),
    "effort.sizes": wholes(4, 512),
    "effort.max_channels": whole(8, 1024),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Measures table and networks, then writes results.json. Raises UserError for a bad config."""
    check(config, RULES)
    stages = [
        Stage("predictor", ("predictor.json",), lambda: _measure_predictor(config, workdir)),
        Stage("networks", ("networks.json",), lambda: _measure_tests(config, workdir)),
    ]
    run_stages(workdir, stages)
    write_results(workdir, _results(config, workdir))


def _keys(config: ConfigDict):
    return children(jax.random.key(config.seed), "predictor", "networks")


def _effort(config: ConfigDict) -> Effort:
    return Effort(**{**config.effort.to_dict(), "sizes": tuple(config.effort.sizes)})


def _measure_predictor(config: ConfigDict, workdir: Workdir) -> None:
    found = measure(_keys(config)["predictor"], _effort(config), batch=config.batch)
    write_json(workdir.path / "predictor.json", measured_to_json(found))


def _measure_tests(config: ConfigDict, workdir: Workdir) -> None:
    plans = random_plans(
        _keys(config)["networks"],
        config.num_networks,
        sizes=config.effort.sizes,
        max_channels=config.effort.max_channels,
    )
    predictor = measured_from_json(_read(workdir, "predictor.json")).predictor
    plain = predictor._replace(network=(0.0, 1.0, 0.0, 0.0))
    started = time.perf_counter()
    predicted = predict(predictor, plans)
    seconds = time.perf_counter() - started
    columns = {
        "predicted_ms": predicted,
        "sum_of_layers_ms": predict(plain, plans),
        "measured_ms": measure_networks(plans, batch=config.batch),
        "macs": [costs.count(plan).macs for plan in plans],
        "layers": [len(plan.steps) for plan in plans],
        "predict_seconds": seconds,
    }
    write_json(workdir.path / "networks.json", columns)


def agreement(
    predicted: Float[np.ndarray, " n"], measured: Float[np.ndarray, " n"]
) -> dict[str, float]:
    """Median and mean of `|predicted / measured - 1|`, and Spearman's rank correlation."""
    errors = np.abs(predicted / measured - 1)
    return {
        "median_relative_error": float(np.median(errors)),
        "mean_relative_error": float(errors.mean()),
        "share_within_20_percent": float((errors <= 0.2).mean()),
        "spearman": float(spearmanr(predicted, measured).statistic),
    }


def _results(config: ConfigDict, workdir: Workdir) -> dict[str, float | int | str]:
    tests = {k: np.array(v) for k, v in _read(workdir, "networks.json").items()}
    found, measured = measured_from_json(_read(workdir, "predictor.json")), tests["measured_ms"]
    predicted, truth = held_out(found.table)
    known = np.isfinite(predicted)
    layers = agreement(predicted[known], truth[known])
    plain = agreement(tests["sum_of_layers_ms"], measured)
    return {
        **agreement(tests["predicted_ms"], measured),
        "num_networks": len(measured),
        "median_ms": float(np.median(measured)),
        **{f"sum_of_layers/{k}": plain[k] for k in ("median_relative_error", "spearman")},
        "macs/spearman": float(spearmanr(tests["macs"], measured).statistic),
        **{f"held_out_layers/{k}": layers[k] for k in ("median_relative_error", "spearman")},
        "num_layers_measured": len(found.table.layers),
        "num_networks_fitted": config.effort.networks,
        "seconds_table": found.table.seconds,
        "seconds_table_and_fit": found.seconds,
        "seconds_per_prediction": float(tests["predict_seconds"] / len(measured)),
        "device": device_name(),
        "batch": config.batch,
    }


def _read(workdir: Workdir, name: str) -> dict:
    return json.loads((workdir.path / name).read_text())
