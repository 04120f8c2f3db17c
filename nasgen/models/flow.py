"""The conditional continuous normalizing flow on latents: p(latent | condition).

dx/dt = v(t, x | condition) carries noise, x(0) ~ N(0, I), to data, x(1). Latents and conditions are
standardised outside. The density follows from the instantaneous change of variables (Chen et al.
2018), log p(x(1)) = log N(x(0)) - integral over 0..1 of tr(dv/dx) dt, with the trace exact or by
Hutchinson's estimator (Grathwohl et al. 2019). Training needs no solver: conditional flow matching
(Lipman et al. 2023) regresses v on the velocity of straight paths from noise to data. Maximum
likelihood through the solver, the objective of Xiang et al. 2024, is kept for comparison.

Shapes: latents `[batch, latent]`, conditions and masks `[batch, condition]`. A mask is True where a
condition is given; one mask `[condition]` may serve the whole batch, None means that all are given.
"""

import math
from collections.abc import Callable
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree, Shaped

from nasgen.models.flow_field import FlowConfig, Params, guided_field, init, vector_field, widen

__all__ = [
    "OBJECTIVES",
    "SOLVERS",
    "FlowConfig",
    "carry",
    "flow_matching_loss",
    "init",
    "integrate",
    "invert",
    "likelihood_loss",
    "log_density",
    "log_prob",
    "sample",
    "vector_field",
    "widen",
]

Field = Callable[[Float[Array, ""], Float[Array, " latent"]], Float[Array, " latent"]]
AnyArray = Array | np.ndarray
Conditions = Float[AnyArray, "batch condition"] | Float[AnyArray, " condition"]
Mask = Bool[AnyArray, "batch condition"] | Bool[AnyArray, " condition"] | None

# of Heun's method from noise to a latent: within a tenth of the latents' deviation off 80 steps,
# root mean square, for all shipped flows (`test_flow`)
STEPS = 3
PRECISE_STEPS = 40  # where a latent is to come back from its noise
DENSITY_STEPS = 24  # from a latent to noise: `open` cells within 0.02 nats of 80 steps, on average
# Fixed steps of equal length, or (dopri5, the paper's) steps that keep `TOLERANCE`.
SOLVERS = {"euler": diffrax.Euler, "heun": diffrax.Heun, "dopri5": diffrax.Dopri5}
ADAPTIVE = ("dopri5",)
TOLERANCE = 1e-5
MAX_ADAPTIVE_STEPS = 4096
TRACES = ("exact", "hutchinson")


# Solving any field, one example.


def integrate(
    field: Callable[[Float[Array, ""], PyTree], PyTree],
    state: PyTree[Float[Array, "..."]],
    *,
    start: float,
    stop: float,
    solver: str = "heun",
    num_steps: int = 10,
) -> PyTree[Float[Array, "..."]]:
    """State at time `stop` of d state/dt = field(t, state), from `state` at time `start`.

    num_steps: equal steps of a fixed-step solver (a key of `SOLVERS`); `dopri5` chooses its own, to
    rtol = atol = 1e-5, and gives NaN where it fails. Raises ValueError for an unknown solver or no
    steps.
    """
    if solver not in SOLVERS:
        raise ValueError(f"`solver` must be one of {', '.join(SOLVERS)}; got {solver!r}.")
    if num_steps < 1:
        raise ValueError(f"`num_steps` must be at least 1; got {num_steps}.")
    if solver in ADAPTIVE:
        controller = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)
        dt0, max_steps = None, MAX_ADAPTIVE_STEPS
    else:
        # One step to spare: the sum of the steps may round to just below the end.
        controller = diffrax.ConstantStepSize()
        dt0, max_steps = (stop - start) / num_steps, num_steps + 1
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: field(t, y)),
        SOLVERS[solver](),
        t0=start,
        t1=stop,
        dt0=dt0,
        y0=state,
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,  # an error is a call back to the host, and such programs are never cached
    )
    failed = solution.result != diffrax.RESULTS.successful
    return jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf[-1]), solution.ys)


def log_density(
    field: Field,
    data: Float[Array, " latent"],
    probes: Float[Array, "probes latent"] | None = None,
    *,
    solver: str = "dopri5",
    num_steps: int = 40,
) -> Float[Array, ""]:
    """log p(data) in nats of N(0, I) at t = 0 carried to t = 1 by `field`.

    probes: vectors e with mean e e' = I for Hutchinson's trace; None takes the exact trace, at the
    cost of `latent` directional derivatives an evaluation.
    """
    tangents = jnp.eye(data.shape[-1], dtype=data.dtype) if probes is None else probes
    weight = 1.0 if probes is None else 1.0 / probes.shape[0]

    def augmented(t, state):
        latent, _ = state

        def directional(tangent):
            return jax.jvp(partial(field, t), (latent,), (tangent,))

        velocity, slopes = jax.vmap(directional, out_axes=(None, 0))(tangents)
        return velocity, weight * jnp.sum(tangents * slopes)

    state = (data, jnp.zeros((), data.dtype))
    noise, change = integrate(
        augmented, state, start=1.0, stop=0.0, solver=solver, num_steps=num_steps
    )
    log_base = -0.5 * (jnp.sum(noise**2) + noise.shape[-1] * math.log(2 * math.pi))
    return log_base + change


# The flow, many examples.


@partial(jax.jit, static_argnames=("config", "num", "guidance", "num_steps", "solver"))
def sample(
    params: Params,
    key: Array,
    conditions: Conditions,
    mask: Mask = None,
    *,
    config: FlowConfig,
    num: int | None = None,
    guidance: float = 1.0,
    temperature: float | Shaped[Array, ""] = 1.0,
    num_steps: int = STEPS,
    solver: str = "heun",
) -> Float[Array, "num latent"]:
    """One latent for each condition, or `num` latents for a single one, see `carry`.

    temperature: standard deviation of the noise; at 0 every key gives the same latent. guidance: 1
    is the conditional flow, 0 the unconditional one, more than 1 follows the condition harder.
    """
    num = conditions.shape[0] if num is None else num
    noise = temperature * jax.random.normal(key, (num, config.latent_dim))
    options = dict(config=config, guidance=guidance, num_steps=num_steps, solver=solver)
    return carry(params, noise, conditions, mask, **options)


@partial(jax.jit, static_argnames=("config", "guidance", "num_steps", "solver"))
def carry(
    params: Params,
    noise: Float[AnyArray, "batch latent"],
    conditions: Conditions,
    mask: Mask = None,
    *,
    config: FlowConfig,
    guidance: float = 1.0,
    num_steps: int = STEPS,
    solver: str = "heun",
) -> Float[Array, "batch latent"]:
    """The latent that each row of noise becomes; `invert` is the way back.

    A single condition `[condition]` serves all rows at two thirds of the price: the context and
    what layers make of it are computed once."""
    mask = _mask_of(conditions, mask)
    rows = 0 if conditions.ndim == 2 else None

    def one(x, condition, given):
        field = guided_field(params, condition, given, config=config, guidance=guidance)
        return integrate(field, x, start=0.0, stop=1.0, solver=solver, num_steps=num_steps)

    return jax.vmap(one, in_axes=(0, rows, rows))(noise, conditions, mask)


@partial(jax.jit, static_argnames=("config", "guidance", "num_steps", "solver"))
def invert(
    params: Params,
    latents: Float[AnyArray, "batch latent"],
    conditions: Float[AnyArray, "batch condition"],
    mask: Mask = None,
    *,
    config: FlowConfig,
    guidance: float = 1.0,
    num_steps: int = PRECISE_STEPS,
    solver: str = "heun",
) -> Float[Array, "batch latent"]:
    """The noise that `sample` carries to `latents`, up to the solver's error."""
    mask = _mask_of(conditions, mask)

    def carry(x, condition, given):
        field = guided_field(params, condition, given, config=config, guidance=guidance)
        return integrate(field, x, start=1.0, stop=0.0, solver=solver, num_steps=num_steps)

    return jax.vmap(carry)(latents, conditions, mask)


@partial(jax.jit, static_argnames=("config", "trace", "num_probes", "num_steps", "solver"))
def log_prob(
    params: Params,
    latents: Float[AnyArray, "batch latent"],
    conditions: Float[AnyArray, "batch condition"],
    mask: Mask = None,
    *,
    config: FlowConfig,
    key: Array | None = None,
    trace: str = "exact",
    num_probes: int = 1,
    num_steps: int = DENSITY_STEPS,
    solver: str = "heun",
) -> Float[Array, " batch"]:
    """log p(latent | given conditions) in nats.

    trace: "exact", or "hutchinson": unbiased, by `num_probes` Rademacher vectors an example, drawn
    from `key`. Raises ValueError for another trace, no probes or a missing key.
    """
    mask = _mask_of(conditions, mask)
    probes = _probes(key, latents.shape, trace, num_probes)

    def one(x, condition, given, vectors):
        field = guided_field(params, condition, given, config=config)
        return log_density(field, x, vectors, solver=solver, num_steps=num_steps)

    return jax.vmap(one)(latents, conditions, mask, probes)


# Objectives: (params, key, latents, conditions, mask) -> scalar.


def flow_matching_loss(
    params: Params,
    key: Array,
    latents: Float[AnyArray, "batch latent"],
    conditions: Float[AnyArray, "batch condition"],
    mask: Mask = None,
    *,
    config: FlowConfig,
    drop_probability: float = 0.2,
    noise: Float[AnyArray, "batch latent"] | None = None,
) -> Float[Array, ""]:
    """Mean of |v(t, x_t) - (data - noise)|^2 / latent_dim, x_t = (1 - t) noise + t data.

    mask: True where a condition is known at all. Known ones are dropped, see `drop_conditions`. The
    times of a batch are spread evenly over 0..1 (each one still uniform) for a calmer gradient.
    noise: of each example, where it was paired (`flow_pairing`); by default drawn here.
    Reference: Lipman et al. 2023, eq. 23 with no remaining width; Liu et al. 2023.
    """
    noise_key, time_key, drop_key = jax.random.split(key, 3)
    given = drop_conditions(drop_key, _mask_of(conditions, mask), drop_probability)
    noise = jax.random.normal(noise_key, latents.shape) if noise is None else noise
    batch = latents.shape[0]
    times = (jax.random.uniform(time_key) + jnp.arange(batch, dtype=latents.dtype) / batch) % 1.0

    def error(t, start, end, condition, known):
        x = (1 - t) * start + t * end
        velocity = vector_field(params, t, x, condition, known, config=config)
        return jnp.mean((velocity - (end - start)) ** 2)

    return jnp.mean(jax.vmap(error)(times, noise, latents, conditions, given))


def likelihood_loss(
    params: Params,
    key: Array,
    latents: Float[AnyArray, "batch latent"],
    conditions: Float[AnyArray, "batch condition"],
    mask: Mask = None,
    *,
    config: FlowConfig,
    drop_probability: float = 0.2,
    num_steps: int = 10,
    solver: str = "heun",
) -> Float[Array, ""]:
    """Mean negative log-likelihood in nats, differentiated through the solver; Hutchinson's trace.

    Arguments as in `flow_matching_loss` and `log_prob`. Reference: Xiang et al. 2024; FFJORD.
    """
    probe_key, drop_key = jax.random.split(key)
    given = drop_conditions(drop_key, _mask_of(conditions, mask), drop_probability)
    log_probs = log_prob(
        params,
        latents,
        conditions,
        given,
        config=config,
        key=probe_key,
        trace="hutchinson",
        num_steps=num_steps,
        solver=solver,
    )
    return -jnp.mean(log_probs)


OBJECTIVES = {"flow_matching": flow_matching_loss, "likelihood": likelihood_loss}


def drop_conditions(
    key: Array, mask: Bool[Array, "batch condition"], probability: float
) -> Bool[Array, "batch condition"]:
    """`mask` with each condition dropped with `probability`, and all of a row with it once more.

    So every subset is trained, the empty one (the unconditional flow) most often of the small ones.
    """
    each_key, row_key = jax.random.split(key)
    keep_each = jax.random.bernoulli(each_key, 1 - probability, mask.shape)
    keep_row = jax.random.bernoulli(row_key, 1 - probability, (mask.shape[0], 1))
    return mask & keep_each & keep_row


def _mask_of(conditions: Conditions, mask: Mask) -> Bool[Array, "..."]:
    if mask is None:
        return jnp.ones(conditions.shape, bool)
    return jnp.broadcast_to(mask, conditions.shape)


def _probes(
    key: Array | None, shape: tuple[int, int], trace: str, num_probes: int
) -> Float[Array, "batch probes latent"] | None:
    if trace not in TRACES:
        raise ValueError(f"`trace` must be one of {', '.join(TRACES)}; got {trace!r}.")
    if trace == "exact":
        return None
    if num_probes < 1:
        raise ValueError(f"`num_probes` must be at least 1; got {num_probes}.")
    if key is None:
        raise ValueError("`key` must be given for the Hutchinson trace; got None.")
    return jax.random.rademacher(key, (shape[0], num_probes, shape[1]), dtype=jnp.float32)
