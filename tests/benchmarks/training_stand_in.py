"""Stands in for PyTorch's side of the training benchmark: it answers what `training_torch` answers.

It knows the networks by their files alone, reads the weights in PyTorch's layouts, and updates them
by SGD with Nesterov's momentum, written out. `wrong` in the folder's name: it adds to one weight.
"""

import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nasgen.networks.network import Network
from nasgen.networks.plan import Layer, Plan, Step


def plan_of(steps: list, shape: tuple, num_classes: int) -> Plan:
    made = [
        Step(one["name"], Layer(**one["layer"]), tuple(one["inputs"]), (0, 0), (0, 0))
        for one in steps
    ]
    return Plan(tuple(made), shape, num_classes, ())


def weights_of(steps: list, arrays) -> dict:
    """OIHW to HWIO, a depthwise O1HW to HWO, a linear OI to IO."""
    turns = {"conv": (2, 3, 1, 0), "linear": (1, 0)}
    params: dict = {}
    for one in steps:
        for name in ("kernel", "bias", "scale", "shift"):
            key, kind = f"{one['name']}/{name}", one["layer"]["kind"]
            if key in arrays:
                array = arrays[key]
                if name == "kernel":
                    depth = kind == "depthwise"
                    array = (
                        array[:, 0].transpose(1, 2, 0) if depth else array.transpose(turns[kind])
                    )
                params.setdefault(one["name"], {})[name] = jnp.asarray(array)
    return params


def functions_of(steps: list, images, labels) -> tuple:
    """Logits, and the loss with its gradient, by the params; compiled."""
    network = Network(plan_of(steps, images.shape[1:], 0))
    stats = {
        one["name"]: {end: jnp.zeros(one["layer"]["out_channels"]) for end in ("mean", "variance")}
        for one in steps
        if one["layer"]["norm"] != "none"
    }

    def logits(params):
        variables = {"params": params, "batch_stats": stats}
        return network.apply(variables, images, train=True, mutable=["batch_stats"])[0]

    def loss(params):
        return -jax.nn.log_softmax(logits(params))[jnp.arange(len(labels)), labels].mean()

    return jax.jit(logits), jax.jit(jax.value_and_grad(loss))


def step(params, momenta, grads, recipe: dict) -> tuple:
    """Params and momenta after a step."""
    decay = jax.tree.map(lambda p: recipe["weight_decay"] * (p.ndim > 1), params)
    grads = jax.tree.map(lambda g, p, d: g + d * p, grads, params, decay)
    momenta = jax.tree.map(lambda m, g: recipe["momentum"] * m + g, momenta, grads)
    params = jax.tree.map(
        lambda p, m, g: p - recipe["lr"] * (g + recipe["momentum"] * m),
        *(params, momenta, grads),
    )
    return params, momenta


def main(folder: Path) -> None:
    networks = json.loads((folder / "networks.json").read_text())
    recipe = json.loads((folder / "recipe.json").read_text())
    with np.load(folder / "batch.npz") as file:
        images, labels = jnp.asarray(file["images"]), jnp.asarray(file["labels"])
    print(json.dumps({"torch": "none", "threads": 1}), flush=True)
    kept: dict = {}
    for line in sys.stdin:
        request, number, *times = line.split()
        steps, parts = (networks[int(number)][name] for name in ("steps", "parts"))
        if request == "load":
            with np.load(folder / f"weights_{number}.npz") as file:
                params = weights_of(steps, file)
            if "wrong" in folder.parent.name:
                params["classifier"]["bias"] += jnp.arange(10.0)
            logits, gradient = functions_of(steps, images, labels)
            kept[number] = params, jax.tree.map(jnp.zeros_like, params), gradient
            count = sum(leaf.size for leaf in jax.tree.leaves(params))
            answer = {"logits": np.asarray(logits(params)).tolist(), "params": count}
            answer["memory_format"] = "none"
        elif request == "step":
            params, momenta, gradient = kept[number]
            losses, started = [], time.perf_counter()
            for _ in range(int(times[0])):
                value, grads = gradient(params)
                losses.append(float(value))
                params, momenta = step(params, momenta, grads, recipe)
            kept[number] = params, momenta, gradient
            answer = {"seconds": time.perf_counter() - started, "losses": losses}
        else:
            answer = {"seconds": [0.5e-3] * len(parts)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__" and len(sys.argv) > 1:
    main(Path(sys.argv[1]))
