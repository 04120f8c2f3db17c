"""A trained network as one StableHLO program: raw images or series to logits, weights inside.

The program takes float32 images `[b, height, width, channels]` (series `[b, length, channels]`) as
they come (the standardisation is part of it) for any batch size `b`, and returns the logits as
`Network` does. It is lowered for CPU, CUDA
and TPU together: on CPU convolutions are written as shifts and matmuls, elsewhere they are native
(see `networks.ops`); the weights are stored once. Written natively only, a 32x32 network of 16
million MACs takes 0.70 s for 32 images on two CPU cores, as shifts 0.04 s.

The file is portable StableHLO bytecode. Its function `main(platform, images)` has an int32 scalar
before the images, the place of the platform in `PLATFORMS`; JAX fills it in itself.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array, Float, PyTree

from nasgen.networks.network import Network
from nasgen.networks.ops import per_channel
from nasgen.networks.plan import Plan

PLATFORMS = ("cpu", "cuda", "tpu")


def export_program(
    plan: Plan,
    variables: PyTree,
    *,
    mean: Float[np.ndarray, " channels"],
    std: Float[np.ndarray, " channels"],
) -> export.Exported:
    """The program of a network with its weights. Its `mlir_module_serialized` is the StableHLO
    bytecode; its `serialize()` (needs flatbuffers) is what `jax.export.deserialize` reads."""
    native, shifts = (Network(plan, lowering).apply for lowering in ("native", "shifts"))

    def logits(images: Float[Array, "b *pixels channels"]) -> Float[Array, "b *where classes"]:
        x = (images - per_channel(mean, images)) / per_channel(std, images)
        # The weights are operands here, so that the two branches share one copy of them.
        weights = jax.tree.map(jnp.asarray, variables)
        return jax.lax.platform_dependent(weights, x, cpu=shifts, default=native)

    return _export(logits, plan.input_shape)


def from_stablehlo(
    program: bytes, input_shape: tuple[int, ...], logits_shape: tuple[int, ...]
) -> export.Exported:
    """StableHLO bytecode of `export_program`, ready for JAX: `.call(images) -> logits`. The shapes
    are those of one example."""
    stand_in = _export(lambda x: jnp.zeros((x.shape[0], *logits_shape)), input_shape)
    return dataclasses.replace(stand_in, mlir_module_serialized=program)


def _export(function, input_shape: tuple[int, ...]) -> export.Exported:
    (batch,) = export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, *input_shape), jnp.float32)
    return export.export(jax.jit(function), platforms=PLATFORMS)(images)
