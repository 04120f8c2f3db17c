"""The parts of an exported `model.py` that are the same in every one; `source` writes the rest.

This is working code, but of a stand-in: `source` puts its own docstring, constants and network in
the place of what stands above the imports and between the two marked lines.
"""

import json
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

# <network>
INPUT_SHAPE, NUM_CLASSES, KIND = (8, 8, 1), 10, "classification"
MEAN, STD = (0.0,), (1.0,)


class Network(nn.Module):
    """A stand-in."""

    @nn.compact
    def __call__(self, x):
        x = Conv(8, kernel=3, relu=False, name="stem")(x)
        return Linear(NUM_CLASSES, name="classifier")(x)


# </network>


# ---- layers: [ReLU,] a linear map [, bias] [, batch norm] ---------------------------------------

EPSILON, MOMENTUM = 1e-5, 0.9  # of batch norm
uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan_in)


class Conv(nn.Module):
    """A dense convolution to `width` channels. Padding keeps the size at stride 1."""

    width: int
    kernel: int | tuple = 1
    stride: int = 1
    dilation: int = 1
    relu: bool = True
    bias: bool = False
    norm: str | None = "affine"

    @nn.compact
    def __call__(self, x):
        x = nn.relu(x) if self.relu else x
        kernel = self.param("kernel", uniform, window(self.kernel) + (x.shape[-1], self.width))
        if self.kernel == 1 and jax.default_backend() == "cpu":
            x = x[:, :: self.stride, :: self.stride] @ kernel[0, 0]
        else:
            x = convolution(x, kernel, self.stride, self.dilation, groups=1)
        return finish(self, x, self.bias, self.norm)


class Depthwise(nn.Module):
    """A convolution with one filter a channel."""

    kernel: int | tuple
    stride: int = 1
    dilation: int = 1
    relu: bool = True
    bias: bool = False
    norm: str | None = "affine"

    @nn.compact
    def __call__(self, x):
        x = nn.relu(x) if self.relu else x
        channels = x.shape[-1]
        kernel = self.param("kernel", uniform, (*window(self.kernel), channels))
        if jax.default_backend() == "cpu":
            x = shifted_sums(x, kernel, self.stride, self.dilation)
        else:
            kernel = kernel[:, :, None, :]
            x = convolution(x, kernel, self.stride, self.dilation, groups=channels)
        return finish(self, x, self.bias, self.norm)


class AvgPool(nn.Module):
    """The average over windows, padding not counted."""

    kernel: int | tuple
    stride: int = 1
    relu: bool = False
    norm: str | None = "plain"

    @nn.compact
    def __call__(self, x):
        x = nn.relu(x) if self.relu else x
        padding = [(k // 2, k // 2) for k in window(self.kernel)]
        strides = (self.stride, self.stride)
        x = nn.avg_pool(x, window(self.kernel), strides, padding, count_include_pad=False)
        return finish(self, x, False, self.norm)


class Linear(nn.Module):
    """A matrix, of the mean over pixels or (`mean=False`) of each pixel."""

    width: int
    mean: bool = True
    relu: bool = False
    bias: bool = True
    norm: str | None = None

    @nn.compact
    def __call__(self, x):
        x = nn.relu(x) if self.relu else x
        x = x.mean((1, 2)) if self.mean else x
        kernel = self.param("kernel", uniform, (x.shape[-1], self.width))
        return finish(self, x @ kernel, self.bias, self.norm)


class Norm(nn.Module):
    """Batch norm alone."""

    relu: bool = False
    norm: str | None = "affine"

    @nn.compact
    def __call__(self, x):
        return finish(self, nn.relu(x) if self.relu else x, False, self.norm)


def excite(x, gate):
    """Each channel as far as its gate is open."""
    return x * nn.sigmoid(gate)


def upsample(x, rows, columns):
    """Each pixel as four, of which as many rows and columns stay."""
    return x.repeat(2, 1).repeat(2, 2)[:, :rows, :columns]


def window(kernel):
    """Rows and columns of a kernel."""
    return kernel if isinstance(kernel, tuple) else (kernel, kernel)


def finish(layer, x, bias, norm):
    """Adds the bias and applies batch norm (`affine`, `plain` without scale and shift, or None)."""
    shape, ones = x.shape[-1:], (1,) * (x.ndim - 1)
    parameter = lambda name, init: layer.param(name, init, shape).reshape(*ones, -1)  # noqa: E731
    if bias:
        x = x + parameter("bias", nn.initializers.zeros)
    if norm is None:
        return x
    mean = layer.variable("batch_stats", "mean", jnp.zeros, shape)
    variance = layer.variable("batch_stats", "variance", jnp.ones, shape)
    m, v = mean.value, variance.value
    if layer.is_mutable_collection("batch_stats") and not layer.is_initializing():  # training
        axes = tuple(range(x.ndim - 1))
        m, v = x.mean(axes), x.var(axes)
        mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * m
        variance.value = MOMENTUM * variance.value + (1 - MOMENTUM) * v
    x = (x - m.reshape(*ones, -1)) * jax.lax.rsqrt(v + EPSILON).reshape(*ones, -1)
    if norm == "plain":
        return x
    return x * parameter("scale", nn.initializers.ones) + parameter("shift", nn.initializers.zeros)


def convolution(x, kernel, stride, dilation, groups):
    """XLA's own convolution."""
    pads = [dilation * (k // 2) for k in kernel.shape[:2]]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad) for pad in pads],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def shifted_sums(x, kernel, stride, dilation):
    """A depthwise convolution as shifted multiply-adds: many times faster on XLA's CPU backend."""
    (rows, columns), (height, width) = kernel.shape[:2], x.shape[1:3]
    pads = [(dilation * (k // 2),) * 2 for k in (rows, columns)]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    corners = [(i, j) for i in range(rows) for j in range(columns)]
    return sum(
        x[:, i * dilation : i * dilation + height, j * dilation : j * dilation + width][
            :, ::stride, ::stride
        ]
        * kernel[i, j].reshape(1, 1, 1, -1)
        for i, j in corners
    )


# ---- weights ------------------------------------------------------------------------------------

WEIGHTS = Path(__file__).with_name("weights.safetensors")


def load(path=WEIGHTS):
    """The network's variables from a safetensors file; each array's name is its path."""
    arrays = read_safetensors(path)
    images = jax.ShapeDtypeStruct((1, *INPUT_SHAPE), jnp.float32)
    wanted = flatten_dict(jax.eval_shape(Network().init, jax.random.key(0), images), sep="/")
    shapes = [{k: tuple(v.shape) for k, v in each.items()} for each in (arrays, wanted)]
    if shapes[0] != shapes[1]:
        odd = min(dict(shapes[0].items() ^ shapes[1].items()))
        found, needed = (each.get(odd, "nothing") for each in shapes)
        raise ValueError(f"{path} is of another network: {odd} is {found}, must be {needed}.")
    return unflatten_dict(arrays, sep="/")


def read_safetensors(path):
    """The float32 arrays of a file: 8 bytes with the header's length, a JSON header, the data."""
    raw = Path(path).read_bytes()
    try:
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        header.pop("__metadata__", None)
        arrays = {}
        for name, entry in header.items():
            if entry["dtype"] != "F32":
                raise ValueError(f"{name} is {entry['dtype']}, not F32")
            begin, end = entry["data_offsets"]
            data = np.frombuffer(raw[start + begin : start + end], "<f4")
            arrays[name] = data.reshape(entry["shape"])
        return arrays
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}).") from error


# ---- use ----------------------------------------------------------------------------------------


def standardise(examples):
    """Raw examples (of the kind that the network was trained on) as its input."""
    x = np.asarray(examples, np.float32)
    x = x[..., None] if x.ndim == len(INPUT_SHAPE) and INPUT_SHAPE[-1] == 1 else x
    if x.shape[1:] != INPUT_SHAPE:
        raise ValueError(f"examples must be [number, {str(INPUT_SHAPE)[1:-1]}]; got {[*x.shape]}.")
    axes = (1,) * len(INPUT_SHAPE)
    mean, std = (np.asarray(each, np.float32).reshape(*axes, -1) for each in (MEAN, STD))
    return (x - mean) / std


@jax.jit
def logits(variables, x):
    """Standardised examples to logits, `NUM_CLASSES` an example (or a place of it)."""
    return Network().apply(variables, x)


def predict(examples, variables=None, batch_size=256):
    """Raw examples to what the network says of them, `batch_size` at a time: the number of a class,
    the probability of each label, or the numbers of a regression."""
    x, variables = standardise(examples), load() if variables is None else variables
    parts = [x[i : i + batch_size] for i in range(0, max(len(x), 1), batch_size)]
    found = np.concatenate([np.asarray(logits(variables, part)) for part in parts])
    if KIND in ("classification", "segmentation"):
        return found.argmax(-1)
    return np.asarray(nn.sigmoid(found)) if KIND == "multi_label" else found


def main(arguments):
    """Prints what the network says of each example in a .npy file, a line each, or writes it."""
    if len(arguments) not in (1, 2):
        print("usage: python model.py examples.npy [predictions.npy]", file=sys.stderr)
        return 2
    try:
        found = predict(np.load(arguments[0], allow_pickle=False))
        if len(arguments) == 2:
            np.save(arguments[1], found)
            return 0
    except (OSError, ValueError, EOFError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("".join(" ".join(map(str, np.ravel(each))) + "\n" for each in found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
