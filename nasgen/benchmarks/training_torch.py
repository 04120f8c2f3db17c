"""The PyTorch side of the training benchmark: a script for an environment of its own.

    pip install torch==2.13.0
    (echo load 0; echo step 0 10) | python nasgen/benchmarks/training_torch.py FOLDER

FOLDER holds `networks.json`: networks, each with `steps`, a plan's (see `networks/plan`), and
`parts`, single layers with the size of their images; `weights_NUMBER.npz`, `STEP/NAME` in
PyTorch's layouts; `batch.npz` with `images [batch, height, width, channels]` and `labels [batch]`;
`recipe.json`. Each line of standard input is a request, each answer one line of JSON:

- `load NUMBER`: builds the network with its weights, in the faster of PyTorch's two memory formats
  (three steps each). `logits` of the first training pass, `memory_format`, `params`.
- `step NUMBER TIMES`: that many training steps: forward, backward, SGD. `seconds` of all together,
  `losses` of each.
- `parts NUMBER`: forward and backward once of each part alone, in the network's memory format.
  `seconds` of each.

It imports nothing of nasgen, and nasgen never imports it.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# What a plan's arrays are called here.
NAMES = {"kernel": "map.weight", "bias": "map.bias", "scale": "norm.weight", "shift": "norm.bias"}


class Layer(nn.Module):
    """A layer of a plan: ReLU, a linear map or pooling, batch norm, each where it has one."""

    def __init__(self, layer: dict):
        super().__init__()
        inputs, outputs, kernel = layer["in_channels"], layer["out_channels"], layer["kernel"]
        stride, padding = layer["stride"], layer["dilation"] * (layer["kernel"] - 1) // 2
        window, bias = (kernel, stride, padding, layer["dilation"]), layer["bias"]
        maps = {
            "conv": lambda: nn.Conv2d(inputs, outputs, *window, bias=bias),
            "depthwise": lambda: nn.Conv2d(inputs, inputs, *window, inputs, bias=bias),
            "linear": lambda: nn.Linear(inputs, outputs, bias),
            "avg_pool": lambda: nn.AvgPool2d(kernel, stride, padding, count_include_pad=False),
            "identity": nn.Identity,
        }
        self.relu, self.averages = layer["relu"], layer["kind"] == "linear"
        self.map = maps[layer["kind"]]()
        affine = layer["norm"] == "affine"
        self.norm = None if layer["norm"] == "none" else nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(x) if self.relu else x
        x = self.map(x.mean((2, 3)) if self.averages else x)
        return x if self.norm is None else self.norm(x)


class Network(nn.Module):
    """The network of a plan: every step sums its inputs and applies its layer."""

    def __init__(self, steps: Sequence[dict]):
        super().__init__()
        self.inputs = [step["inputs"] for step in steps]
        self.layers = nn.ModuleList(Layer(step["layer"]) for step in steps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for inputs, layer in zip(self.inputs, self.layers, strict=True):
            total = values[inputs[0]]
            for other in inputs[1:]:
                total = total + values[other]
            values.append(layer(total))
        return values[-1]


class Training:
    """A network in training on one batch."""

    def __init__(self, steps: Sequence[dict], weights, batch, recipe: dict, memory_format: str):
        self.network = Network(steps)
        _load(self.network, steps, weights)
        self.network.to(memory_format=FORMATS[memory_format])
        self.images = batch[0].contiguous(memory_format=FORMATS[memory_format])
        self.labels, self.memory_format = batch[1], memory_format
        kernels = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, nesterov=True, **recipe)

    def step(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def _load(network: Network, steps: Sequence[dict], weights) -> None:
    """Fills in all weights."""
    parameters = dict(network.named_parameters())
    names = {step["name"]: f"layers.{number}" for number, step in enumerate(steps)}
    with torch.no_grad():
        for key in weights:
            step, name = key.split("/")
            parameters.pop(f"{names[step]}.{NAMES[name]}").copy_(torch.from_numpy(weights[key]))
    if parameters:
        raise ValueError(f"no weights for {sorted(parameters)}")


def seconds_of(function, times: int = 1) -> float:
    """Wall time of so many calls."""
    started = time.perf_counter()
    for _ in range(times):
        function()
    return time.perf_counter() - started


def load(network: dict, weights, batch, recipe: dict) -> tuple[Training, dict]:
    """The network in the faster memory format, its weights untouched, and what is said of it."""
    seconds = {}
    for name in FORMATS:
        trial = Training(network["steps"], weights, batch, recipe, name)
        trial.step()
        seconds[name] = seconds_of(trial.step, 2)
    training = Training(network["steps"], weights, batch, recipe, min(seconds, key=seconds.get))
    with torch.no_grad():
        logits = training.network(training.images)
    return training, {
        "logits": logits.tolist(),
        "memory_format": training.memory_format,
        "params": sum(p.numel() for p in training.network.parameters()),
    }


def part(layer: dict, size: Sequence[int], batch: int, memory_format: str):
    """A function that runs a layer forward and backward on noise."""
    module = Layer(layer)
    module.to(memory_format=FORMATS[memory_format])
    x = torch.randn(batch, layer["in_channels"], *size)
    x = x.contiguous(memory_format=FORMATS[memory_format]).requires_grad_()
    g = torch.randn_like(module(x))

    def run() -> None:
        module.zero_grad()
        x.grad = None
        module(x).backward(g)

    return run


def main(folder: Path) -> None:
    """Answers every request on standard input."""
    networks = json.loads((folder / "networks.json").read_text())
    recipe = json.loads((folder / "recipe.json").read_text())
    with np.load(folder / "batch.npz") as file:
        images = torch.from_numpy(file["images"].transpose(0, 3, 1, 2).copy())
        batch = images, torch.from_numpy(file["labels"]).long()
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    trained: dict[int, Training] = {}
    parts: dict[int, list] = {}
    for line in sys.stdin:
        request, number, *times = line.split()
        number = int(number)
        if request == "load":
            with np.load(folder / f"weights_{number}.npz") as weights:
                trained[number], answer = load(networks[number], weights, batch, recipe)
        elif request == "step":
            losses: list[torch.Tensor] = []
            step = trained[number].step
            seconds = seconds_of(lambda s=step, kept=losses: kept.append(s()), int(times[0]))
            answer = {"seconds": seconds, "losses": [float(loss) for loss in losses]}
        else:
            if number not in parts:
                given = networks[number]["parts"]
                form = trained[number].memory_format
                parts[number] = [part(one, size, len(images), form) for one, size in given]
            answer = {"seconds": [seconds_of(run) for run in parts[number]]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__" and len(sys.argv) > 1:  # without arguments: whether the imports work
    main(Path(sys.argv[1]))
