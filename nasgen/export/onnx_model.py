"""A trained network as an ONNX graph: raw images to logits for any batch size, weights inside.

Converted by jax2onnx (the extra `onnx`) from the native lowering, whose convolutions and pools ONNX
has; those written as shifts ask it to compare symbolic sizes, which it cannot. 0.13.0 and 0.17.1
convert all layers under JAX 0.10; later than 0.13.0 they want orbax-checkpoint below 0.11.37.
What onnxruntime makes of the graph is compared with JAX before anyone gets it.
"""

import logging
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from nasgen.networks.network import Network
from nasgen.networks.ops import per_channel
from nasgen.networks.plan import Plan

NEEDED = ("jax2onnx", "onnxruntime")
INSTALL = 'pip install "nasgen[onnx]"'
OPSET = 18  # of 2022: what runtimes of today read
TOLERANCE = 1e-4  # of the largest logit, or of 1 where all are smaller
_BATCHES = (1, 5)  # that are compared


class OnnxError(RuntimeError):
    """There is no graph, and why, in one line."""


def missing() -> list[str]:
    """The packages of the extra that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def onnx_graph(
    plan: Plan,
    variables: PyTree,
    *,
    mean: Float[np.ndarray, " channels"],
    std: Float[np.ndarray, " channels"],
) -> bytes:
    """The graph of a network, `images` (float32, images or series as they come) to `logits`.

    Raises OnnxError where the extra is not installed, where the conversion fails, and where
    onnxruntime's logits differ from JAX's."""
    if missing():
        raise OnnxError(f"{missing()[0]} is not installed: {INSTALL}")
    network, weights = Network(plan, "native"), jax.tree.map(jnp.asarray, variables)

    def logits(images: Float[Array, "b *pixels channels"]) -> Float[Array, "b *where classes"]:
        x = (images - per_channel(mean, images)) / per_channel(std, images)
        return network.apply(weights, x)

    # It tells at length of its plugins for other libraries that it cannot import.
    logging.getLogger("jax2onnx").setLevel(logging.ERROR)
    try:
        import jax2onnx

        names = dict(input_names=["images"], output_names=["logits"])
        model = jax2onnx.to_onnx(logits, [("b", *plan.input_shape)], opset=OPSET, **names)
        graph = model.SerializeToString()
        gap = _gap(graph, logits, plan.input_shape, mean, std)
    except Exception as error:  # whatever a converter of another make raises
        reason = " ".join(str(error).split())[:200] or "no reason given"
        raise OnnxError(f"the conversion failed, {type(error).__name__}: {reason}") from error
    if not gap <= TOLERANCE:
        raise OnnxError(f"its logits differ by {gap:.1e} from JAX's, more than {TOLERANCE:g}")
    return graph


def _gap(graph: bytes, logits, shape, mean, std) -> float:
    """The largest difference between onnxruntime's logits and JAX's, in parts of the largest."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rng, gaps, expected = np.random.default_rng(0), [], jax.jit(logits)
    for batch in _BATCHES:
        images = rng.standard_normal((batch, *shape), np.float32) * std + mean
        wanted = np.asarray(expected(images))
        (found,) = session.run(["logits"], {"images": images})
        gaps.append(np.abs(found - wanted).max() / max(1, np.abs(wanted).max()))
    return float(np.max(gaps))
