"""The PyTorch side of the scoring benchmark: a script for an environment of its own.

    pip install torch==2.13.0 alethiometer==1.1.2
    seq 0 9 | python nasgen/benchmarks/reference_torch.py FOLDER

FOLDER holds `architectures.json`, a list in the format of `spaces/formats` (space `open`), and
`batch.npz` with `images [batch, height, width, channels]`, `labels [batch]` and `num_classes`. For
every number read from standard input, that architecture's network is built (NCHW, PyTorch's default
initialisation; or with the arrays `NUMBER/LAYER/weight` and `/bias` of `weights.npz`, where that is
in FOLDER) and scored by the reference library; the answer is one line of JSON:

- `seconds`: wall time of SNIP-SNR and layer-wise NWOT by `alethiometer`, the network being built.
- `seconds_bare`: the same two passes without the library's copies of the network (PyTorch alone).
- `snip_snr`, `nwot_layers`: sums of the library's layer scores. `params`. `peak_memory_mb`.

It imports nothing of nasgen, and nasgen never imports it.
"""

import json
import resource
import sys
import time
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# The library's data sets want torchvision, which it does not declare and its proxies do not need.
datasets = types.ModuleType("alethiometer.datasets")
datasets.get_cifar_dataloaders = datasets.get_mnist_dataloaders = None
sys.modules["alethiometer.datasets"] = datasets

from alethiometer.zc_proxy import copynet  # noqa: E402
from alethiometer.zero_cost_metrics import calc_metric  # noqa: E402

EXPANSIONS = {"mbconv_2": 2, "mbconv_3": 3, "mbconv_6": 6, "bconv_05": 0.5, "bconv_025": 0.25}


def convolution(inputs: int, outputs: int, kernel=1, stride=1, dilation=1, *, groups=1, bias=False):
    """A convolution that keeps the size, but for its stride."""
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias)


def make_op(node: dict, inputs: int, outputs: int, stride: int) -> nn.Module:
    """One op of the space `open`."""
    kind, kernel = node["op"], node["kernel"]
    if kind == "avg_pool":
        padding = (kernel - 1) // 2
        pool = nn.AvgPool2d(kernel, stride, padding, count_include_pad=False)
        layers = [pool, nn.BatchNorm2d(inputs, affine=False)]
        if inputs != outputs:
            match = convolution(inputs, outputs, bias=True)
            layers += [nn.ReLU(), match, nn.BatchNorm2d(outputs)]
        return nn.Sequential(*layers)
    if kind == "conv":
        conv = convolution(inputs, outputs, kernel, stride)
        return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(outputs))
    if kind in ("sep_conv", "dil_conv"):
        dilation = 2 if kind == "dil_conv" else 1
        depthwise = convolution(inputs, inputs, kernel, stride, dilation, groups=inputs)
        pointwise = convolution(inputs, outputs)
        return nn.Sequential(nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(outputs))
    inner = int(inputs * EXPANSIONS[kind])
    return nn.Sequential(
        *(nn.ReLU(), convolution(inputs, inner), nn.BatchNorm2d(inner)),
        *(nn.ReLU(), convolution(inner, inner, kernel, stride, groups=inner)),
        *(nn.BatchNorm2d(inner), nn.ReLU(), convolution(inner, outputs), nn.BatchNorm2d(outputs)),
    )


class Cell(nn.Module):
    """A cell; where stride or width change, its input is projected for whoever sums it."""

    def __init__(self, cell: dict, inputs: int, outputs: int, stride: int):
        super().__init__()
        nodes = cell["nodes"]
        self.parents = [[u for u, v in cell["edges"] if v == node] for node in range(len(nodes))]
        changes = stride != 1 or inputs != outputs
        self.projection = None
        if changes:
            conv = convolution(inputs, outputs, stride=stride)
            self.projection = nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(outputs))
        self.takes_raw = [changes and parents == [0] for parents in self.parents]
        self.ops = nn.ModuleList(
            make_op(node, inputs, outputs, stride) if raw else make_op(node, outputs, outputs, 1)
            for node, raw in list(zip(nodes, self.takes_raw, strict=True))[1:-1]
        )

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        values = [raw if self.projection is None else self.projection(raw)]
        for node, op in enumerate(self.ops, start=1):
            values.append(op(raw if self.takes_raw[node] else self._sum(values, node)))
        return self._sum(values, -1)

    def _sum(self, values: list[torch.Tensor], node: int) -> torch.Tensor:
        return sum((values[u] for u in self.parents[node][1:]), values[self.parents[node][0]])


class Network(nn.Module):
    """Stem, cells, head; modules in the order that they run."""

    def __init__(self, architecture: dict, channels: int, num_classes: int):
        super().__init__()
        width, final = architecture["channels"][0], architecture["final_width"]
        layers = [convolution(channels, width, 3), nn.BatchNorm2d(width)]
        columns = (architecture[name] for name in ("cells", "channels", "strides", "repeats"))
        for cell, outputs, stride, repeats in zip(*columns, strict=True):
            for repeat in range(repeats):
                layers.append(Cell(cell, width, outputs, stride if repeat == 0 else 1))
                width = outputs
        layers += [nn.BatchNorm2d(width), nn.ReLU(), convolution(width, final)]
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(final))
        self.classifier = nn.Linear(final, num_classes)
        self.get_prunable_copy = types.MethodType(copynet, self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def layers_of(network: nn.Module) -> list[nn.Module]:
    """Convolutions and linear layers, in the order that they run."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def load_weights(network: nn.Module, weights, number: int) -> None:
    """Fills in the network's kernels and biases."""
    with torch.no_grad():
        for i, layer in enumerate(layers_of(network)):
            layer.weight.copy_(torch.from_numpy(weights[f"{number}/{i}/weight"]))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(weights[f"{number}/{i}/bias"]))


def score(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Both scores by the reference library."""
    device = torch.device("cpu")
    snr, nwot = (
        calc_metric(name, network, device, images, labels, loss_fn=F.cross_entropy)
        for name in ("snr_snip_none", "lnwot")
    )
    return float(np.sum(snr)), float(np.sum(nwot))


def score_bare(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """The same passes on the network itself, whose weights and running statistics are free to
    change: gradients of the weights, then agreements of codes at every layer's output."""
    F.cross_entropy(network(images), labels).backward()
    for layer in layers_of(network):
        if layer.weight.grad is not None:
            saliency = (layer.weight * layer.weight.grad).detach().abs()
            float(saliency.sum() / saliency.std())

    def log_det(_module, _inputs, output):
        codes = (output > 0).float().flatten(1)
        np.linalg.slogdet((codes @ codes.t() + (1 - codes) @ (1 - codes.t())).numpy())

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    for layer in layers_of(network):
        layer.register_forward_hook(log_det)
    with torch.no_grad():
        network.eval()(images)


def answer(architecture: dict, number: int, folder: Path) -> dict[str, float | int]:
    """Builds and scores one network."""
    with np.load(folder / "batch.npz") as file:
        images = torch.from_numpy(file["images"].transpose(0, 3, 1, 2).copy())
        labels = torch.from_numpy(file["labels"]).long()
        network = Network(architecture, images.shape[1], int(file["num_classes"]))
    if (folder / "weights.npz").exists():
        with np.load(folder / "weights.npz") as weights:
            load_weights(network, weights, number)
    started = time.perf_counter()
    snip_snr, nwot_layers = score(network, images, labels)
    middle = time.perf_counter()
    score_bare(network, images, labels)
    return {
        "number": number,
        "seconds": middle - started,
        "seconds_bare": time.perf_counter() - middle,
        "snip_snr": snip_snr,
        "nwot_layers": nwot_layers,
        "params": sum(p.numel() for p in network.parameters()),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(folder: Path) -> None:
    """Answers every number on standard input."""
    architectures = json.loads((folder / "architectures.json").read_text())
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        number = int(line)
        print(json.dumps(answer(architectures[number], number, folder)), flush=True)


if __name__ == "__main__" and len(sys.argv) > 1:  # without arguments: whether the imports work
    main(Path(sys.argv[1]))
