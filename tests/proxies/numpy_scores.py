"""The proxies in NumPy, for the golden file: from the passes of one network its scores.

Independent of `nasgen.proxies`; of nasgen it reads only the plan, as a description.
"""

import math

import numpy as np

from nasgen.networks.plan import Plan


def make_scores(plan: Plan, weights, labels, found: dict) -> dict[str, float]:
    """Every proxy but the ensemble."""
    kernels = [w["kernel"] for w in weights if "kernel" in w]
    steps = [step for step in plan.steps if step.layer.has_kernel]
    rows = list(zip(kernels, found["gradients"], strict=True))
    saliencies = [np.abs(k * g).ravel() for k, g in rows]
    ratios = np.array([signal_to_noise(s) for s in saliencies])
    layers = np.array([log_determinant(k) for k in found["agreements"]])
    norms = [step.layer.out_channels for step in plan.steps if step.layer.norm == "affine"]
    arrays = [array for w in weights for array in w.values()]
    covariances, transfers = found["blocks"].values()
    entropies = [entropy(c) for c in covariances]
    return {
        "params": sum(a.size for a in arrays) + 2 * sum(norms),
        "macs": sum(k.size * math.prod(s.out_size) for k, s in zip(kernels, steps, strict=True)),
        "layers": len(kernels),
        "grad_norm": sum(math.sqrt((g**2).sum()) for g in found["gradients"]),
        "snip": sum(s.sum() for s in saliencies),
        "snip_snr": ratios.sum(),
        "grasp": -sum((k * h).sum() for k, h in zip(kernels, found["curvature"], strict=True)),
        "fisher": sum(
            (p**2).mean(0).sum() / 2 * math.prod(k.shape[:-1])
            for p, k in zip(found["products"], kernels, strict=True)
        ),
        "plain": sum((k * g).sum() for k, g in rows),
        "l2_norm": sum(math.sqrt((k**2).sum()) for k in kernels),
        "synflow": math.log(sum(math.exp(flow) for flow in found["synflow"])),
        "jacob_cov": jacob_cov(found["jacobian"]),
        "epe_nas": sum(
            abs(likeness(found["jacobian"][labels == c])) for c in range(plan.num_classes)
        ),
        "nwot": log_determinant(found["relu_agreements"].sum(0)),
        "nwot_fresh": log_determinant(found["fresh_relu_agreements"].sum(0)),
        "nwot_layers": layers.sum(),
        "nwot_outputs": log_determinant(found["agreements"].sum(0)),
        "swap": len({int(p) for words in found["patterns"] for p in words[0]}),
        "t_cet": (layers * np.log(1 + ratios)).sum(),
        "t_cet_synflow": (layers * np.log(1 + np.exp(found["synflow_snr"]))).sum(),
        "zen": math.log(found["zen"]["distances"].mean())
        + sum(math.log(math.sqrt(v)) for v in found["zen"]["variances"]),
        "zico": sum(
            signal_of_halves(*halves) for halves in zip(*found["half_gradients"], strict=True)
        ),
        "grad_sign": sum(np.abs(s).sum() for s in found["sign_sums"]),
        "ntk": condition_number(found["ntk"]),
        "az_expressivity": sum(entropies),
        "az_progressivity": np.diff(entropies).min(),
        "az_trainability": sum(trainability(t) for t in transfers) / len(transfers),
    }


def signal_to_noise(values: np.ndarray) -> float:
    deviation = values.std(ddof=1) if len(values) > 1 else 0
    return values.sum() / deviation if deviation > 0 else values.sum()


def log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def log_determinant(matrix: np.ndarray) -> float:
    if np.linalg.matrix_rank(matrix) < len(matrix):
        return 0.0
    return float(np.linalg.slogdet(matrix)[1])


def jacob_cov(rows: np.ndarray) -> float:
    if not rows.any():
        return math.nan
    values = np.linalg.eigvalsh(np.corrcoef(rows))
    return -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in values)


def likeness(rows: np.ndarray) -> float:
    return float(np.log(np.abs(np.corrcoef(rows)) + 1e-5).sum()) if rows.any() else math.nan


def signal_of_halves(first: np.ndarray, second: np.ndarray) -> float:
    size, deviation = (np.abs(first) + np.abs(second)) / 2, np.abs(first - second) / 2
    total = sum(m / s for m, s in zip(size.ravel(), deviation.ravel(), strict=True) if s != 0)
    return math.log(total) if total > 0 else 0.0


def condition_number(matrix: np.ndarray) -> float:
    regular = np.linalg.matrix_rank(matrix) == len(matrix)
    return float(np.linalg.cond(matrix)) if regular else math.inf


def entropy(covariance: np.ndarray) -> float:
    values = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    return -sum(p * math.log(p + 1e-8) for p in values / values.sum())


def trainability(transfer: np.ndarray) -> float:
    largest = math.sqrt(np.linalg.eigvalsh(transfer.T @ transfer)[-1])
    return -largest - 1 / (largest + 1e-6) + 2


def log_ranks(parts: np.ndarray) -> np.ndarray:
    """sum of log(rank / pool) over the parts; no two networks are equal in any."""
    ranks = np.array([[np.sum(part <= value) for value in part] for part in parts])
    return np.log(ranks / parts.shape[1]).sum(0)
