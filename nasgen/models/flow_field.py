"""The vector field of the flow: dx/dt = v(t, x | the conditions that are given).

A stack of concat-squash layers (Grathwohl et al. 2019, "FFJORD"), y = (W x) * sigmoid(G c) + B c,
on one latent `[latent]`. The context c is made once from the time (Fourier features), the given
conditions and the mask that says which are given, so one network holds the field of every subset of
conditions; the all-False mask is the unconditional field (classifier-free guidance, Ho & Salimans
2022). The field starts as zero: an untrained flow is the identity, and its density N(0, I).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nasgen.precision import full_float32

Params = dict[str, Any]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"silu": nn.silu, "tanh": jnp.tanh}


class FlowConfig(NamedTuple):
    """Sizes of a vector field; hashable, so it can be a static argument of `jit`.

    width: units of each hidden layer. depth: hidden concat-squash layers, at least 1; one more maps
    to the latent. context_width: units of the context c. time_features: frequencies of the Fourier
    features of t. activation: a key of `ACTIVATIONS`. residual: hidden layers after the first add
    to their (normalised) input; False, with tanh and depth 8, is the paper's plain stack of nine.
    """

    latent_dim: int
    condition_dim: int
    width: int = 512
    depth: int = 4
    context_width: int = 128
    time_features: int = 4
    activation: str = "silu"
    residual: bool = True


class ConcatSquash(nn.Module):
    """y = (W x + b) * sigmoid(G c + g) + B c."""

    width: int
    zero: bool = False  # start as the zero map

    @nn.compact
    def __call__(
        self, x: Float[Array, " features"], context: Float[Array, " context"]
    ) -> Float[Array, " width"]:
        kernel_init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        y = nn.Dense(self.width, kernel_init=kernel_init, name="layer")(x)
        gate = nn.Dense(self.width, name="gate")(context)
        shift = nn.Dense(self.width, use_bias=False, kernel_init=kernel_init, name="shift")(context)
        return y * nn.sigmoid(gate) + shift


class VectorField(nn.Module):
    """The network behind `vector_field`; conditions that are not given must be zero already."""

    config: FlowConfig

    @nn.compact
    def __call__(
        self,
        t: Float[Array, ""],
        x: Float[Array, " latent"],
        condition: Float[Array, " condition"],
        given: Float[Array, " condition"],
    ) -> Float[Array, " latent"]:
        config = self.config
        activation = ACTIVATIONS[config.activation]
        context = jnp.concatenate([_time_features(t, config.time_features), condition, given])
        context = activation(nn.Dense(config.context_width, name="context_0")(context))
        context = activation(nn.Dense(config.context_width, name="context_1")(context))
        hidden = ConcatSquash(config.width, name="squash_0")(x, context)
        for index in range(1, config.depth):
            layer = ConcatSquash(config.width, name=f"squash_{index}")
            if config.residual:
                norm = nn.LayerNorm(name=f"norm_{index}")
                hidden = hidden + layer(activation(norm(hidden)), context)
            else:
                hidden = layer(activation(hidden), context)
        output = ConcatSquash(config.latent_dim, zero=True, name=f"squash_{config.depth}")
        return output(activation(hidden), context)


@partial(jax.jit, static_argnames="config")
def init(key: Array, config: FlowConfig) -> Params:
    """Params (nested dict of float32 arrays) of the field that is zero everywhere.

    Raises ValueError where a size is not positive or the activation is unknown.
    """
    _check(config)
    latent, condition = jnp.zeros(config.latent_dim), jnp.zeros(config.condition_dim)
    return VectorField(config).init(key, jnp.zeros(()), latent, condition, condition)["params"]


def widen(params: Params, config: FlowConfig, num: int = 1) -> tuple[Params, FlowConfig]:
    """The field with `num` more conditions behind the others, of which it knows nothing yet: given
    or not, it is what it was. Raises ValueError for `num` below 1."""
    if num < 1:
        raise ValueError(f"`num` must be at least 1; got {num}.")
    first = params["context_0"]
    times = first["kernel"].shape[0] - 2 * config.condition_dim
    kernel = jnp.asarray(first["kernel"])
    new = jnp.zeros((num, kernel.shape[1]), kernel.dtype)
    values, given = jnp.split(kernel[times:], 2)
    kernel = jnp.concatenate([kernel[:times], values, new, given, new])
    wider = config._replace(condition_dim=config.condition_dim + num)
    return {**params, "context_0": {**first, "kernel": kernel}}, wider


@full_float32
def vector_field(
    params: Params,
    t: Float[Array, ""],
    x: Float[Array, " latent"],
    condition: Float[Array, " condition"],
    mask: Bool[Array, " condition"],
    *,
    config: FlowConfig,
) -> Float[Array, " latent"]:
    """Velocity of one latent `x` at time `t` (0 noise, 1 data).

    mask: True where `condition` is given. Elsewhere its value is not read, and may be NaN.
    """
    known = jnp.where(mask, condition, jnp.zeros_like(condition))
    given = mask.astype(x.dtype)
    return VectorField(config).apply({"params": params}, t, x, known, given)


def guided_field(
    params: Params,
    condition: Float[Array, " condition"],
    mask: Bool[Array, " condition"],
    *,
    config: FlowConfig,
    guidance: float = 1.0,
) -> Callable[[Float[Array, ""], Float[Array, " latent"]], Float[Array, " latent"]]:
    """The field (t, x) -> v_uncond + guidance (v_cond - v_uncond) of one condition.

    guidance: a Python number; at 1 the unconditional field is not evaluated.
    """

    def conditional(t, x):
        return vector_field(params, t, x, condition, mask, config=config)

    def guided(t, x):
        free = vector_field(params, t, x, condition, jnp.zeros_like(mask), config=config)
        return free + guidance * (conditional(t, x) - free)

    return conditional if guidance == 1.0 else guided


def _time_features(t: Float[Array, ""], frequencies: int) -> Float[Array, " features"]:
    """t, and cos and sin of pi k t for k = 1..frequencies: smooth, so few solver steps suffice."""
    angles = jnp.pi * t * jnp.arange(1, frequencies + 1, dtype=t.dtype)
    return jnp.concatenate([t[None], jnp.cos(angles), jnp.sin(angles)])


def _check(config: FlowConfig) -> None:
    for name in ("latent_dim", "condition_dim", "width", "depth", "context_width"):
        if getattr(config, name) < 1:
            raise ValueError(f"`{name}` must be at least 1; got {getattr(config, name)}.")
    if config.time_features < 0:
        raise ValueError(f"`time_features` must not be negative; got {config.time_features}.")
    if config.activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}; got {config.activation!r}."
        )
