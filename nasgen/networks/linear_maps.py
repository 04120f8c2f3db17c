"""The linear map (or pooling) of one layer over compiled programs, forward and backward.

Arrays are padded (`padding`). `run(name, constants, *arrays)` calls a primitive of `programs`.
"""

import numpy as np

from nasgen.networks.ops import corners_of
from nasgen.networks.padding import bucket, padded_layer
from nasgen.networks.plan import Layer
from nasgen.networks.primitives import MAX_CORNERS


def forward(run, layer: Layer, weights: dict, x, *, relu: bool = False):
    """The map with its bias; no norm. `x` itself for an identity.

    relu: of `x` first, within a depthwise convolution's own program."""
    if relu and layer.kind != "depthwise":
        x = run("relu", (), x)
    if layer.kind == "identity":
        return x
    out = padded_layer(layer).out_channels
    if layer.kind == "avg_pool":
        if layer.kernel == 1:
            return run("subsample", (), x) if layer.stride == 2 else x
        return run("pool", (layer.kernel, layer.stride), x)
    if layer.kind == "max_pool":
        return run("max_pool", (layer.kernel, layer.stride), x)
    if layer.kind == "slice":
        return run("channels", (0, layer.out_channels, 0, out), x)
    if layer.kind == "place":
        return run("channels", (0, layer.in_channels, layer.offset, out), x)
    if layer.kind == "shift":
        return run("shift", (1,), x)
    if layer.kind == "depthwise":
        constants = (*layer.window, _dilation(layer), layer.stride, int(relu))
        return run("depthwise", constants, x, weights["kernel"])
    if layer.kind == "zero":
        height, width = (-(-n // layer.stride) for n in x.shape[1:3])
        return np.zeros((x.shape[0], height, width, out), x.dtype)
    if layer.kind == "linear":
        x = run("pixel_mean", (), x)
    if layer.kind == "upsample":
        return run("upsample", layer.crop, x)
    if layer.kind in ("linear", "pixelwise") or layer.kernel == 1:
        x = run("subsample", (), x) if layer.stride == 2 else x
        y = run("matmul", (out,), x, _matrix(layer, weights["kernel"]))
    else:
        y = run("convolution", (out, *layer.window, layer.stride), x, weights["kernel"])
    return run("bias", (), y, weights["bias"]) if layer.bias else y


def _dilation(layer: Layer) -> int:
    """What the program is compiled for: a single pixel has no spacing."""
    return layer.dilation if layer.kernel > 1 else 1


def _matrix(layer: Layer, kernel):
    return kernel.reshape(kernel.shape[-2:]) if layer.kind == "conv" else kernel


def input_gradient(run, layer: Layer, weights: dict, x, g):
    """The gradient by the map's input `x` from that by its output, None where nothing flows."""
    height, width = x.shape[1:3]
    if layer.kind == "identity":
        return g
    if layer.kind == "zero":
        return None
    if layer.kind == "max_pool":
        return run("max_pool_backward", (layer.kernel, layer.stride), x, g)
    if layer.kind == "slice":
        return run("channels", (0, layer.out_channels, 0, bucket(layer.in_channels)), g)
    if layer.kind == "place":
        constants = (layer.offset, layer.in_channels, 0, bucket(layer.in_channels))
        return run("channels", constants, g)
    if layer.kind == "shift":
        return run("shift", (-1,), g)
    if layer.kind == "avg_pool" and layer.kernel > 1:
        return run("pool_backward", (layer.kernel, layer.stride, height, width), g)
    if layer.kind == "conv" and layer.kernel > 1:
        constants = (height, width, layer.stride, *layer.window, bucket(layer.in_channels))
        return run("convolution_input_gradient", constants, g, weights["kernel"])
    if layer.kind == "depthwise":
        g = run("spread", (height, width), g) if layer.stride == 2 else g
        constants = (*layer.window, _dilation(layer), 1, 0)
        return run("depthwise", constants, g, weights["kernel"][::-1, ::-1])
    if layer.kind == "upsample":
        return run("upsample_backward", (), g)
    if layer.kind in ("conv", "linear", "pixelwise"):
        kernel = _matrix(layer, weights["kernel"])
        g = run("matmul_input_gradient", (bucket(layer.in_channels),), g, kernel)
    if layer.kind == "linear":
        return run("pixel_mean_backward", (height, width), g)
    return run("spread", (height, width), g) if layer.stride == 2 else g


def kernel_gradient(run, layer: Layer, x, g, *, relu: bool = False):
    """The gradient by the kernel: `[rows, columns, in, out]`, `[in, out]` for kernel 1, for
    depthwise `[shifts, channels]`, of which as many count as the kernel has places. relu: as in
    `forward`."""
    if relu and layer.kind != "depthwise":
        x = run("relu", (), x)
    out = padded_layer(layer).out_channels
    if layer.kind == "depthwise":
        g = run("spread", x.shape[1:3], g) if layer.stride == 2 else g
        if layer.kernel == 1:
            return run("channel_products", (int(relu),), x, g)
        constants = int(relu), int(layer.window[1] > 1)
        return run("depthwise_gradient", constants, x, g, *_corners(layer))
    if layer.kind == "conv" and layer.kernel > 1:
        return run("convolution_kernel_gradient", (out, *layer.window, layer.stride), x, g)
    if layer.kind == "linear":
        x = run("pixel_mean", (), x)
    elif layer.stride == 2:
        x = run("subsample", (), x)
    return run("matmul_kernel_gradient", (out,), x, g)


def _corners(layer: Layer) -> tuple[np.ndarray, np.int32]:
    found = layer.dilation * (corners_of(*layer.window) - np.array(layer.window) // 2)
    corners = np.zeros((MAX_CORNERS, 2), np.int32)
    corners[: len(found)] = found
    return corners, np.int32(len(found))
