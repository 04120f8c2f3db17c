"""Products in the generators and the scores are of full float32, whatever a backend's default."""

import re

import jax
import numpy as np
import pytest

from nasgen.models import flow, graph_vae, macro
from nasgen.models.macro_language import NUM_FEATURES
from nasgen.models.macro_rules import CostBounds
from nasgen.networks import costs, programs
from nasgen.networks.programs import Signature
from nasgen.pretrained.bundle import load_bundle
from nasgen.spaces import SPACES
from nasgen.types import Task


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("open")


def precisions(lowered: jax.stages.Lowered) -> list[str]:
    """What each product and convolution of a program asks for, of its two arrays."""
    lines = lowered.as_text().splitlines()
    products = [line for line in lines if re.search(r"stablehlo\.(dot|convolution)", line)]
    return [" ".join(re.findall(r"DEFAULT|HIGH\b|HIGHEST", line)) for line in products]


def asks_for_all(lowered: jax.stages.Lowered) -> bool:
    found = precisions(lowered)
    return len(found) > 0 and set(found) == {"HIGHEST HIGHEST"}


def test_a_product_that_does_not_ask_is_found():
    assert precisions(jax.jit(lambda x: x @ x).lower(np.eye(2, dtype=np.float32))) != [
        "HIGHEST HIGHEST"
    ]


def test_the_flow_asks(bundle):
    conditions = np.zeros((3, len(bundle.cells.names)), np.float32)
    args = bundle.cells.flow, jax.random.key(0), conditions
    assert asks_for_all(flow.sample.lower(*args, config=bundle.cells.flow_config))


@pytest.mark.parametrize("function", ["encode", "decode", "predict_conditions"])
def test_the_vae_asks(bundle, function):
    config = bundle.cells.vae_config
    latents = np.zeros((3, config.latent_dim), np.float32)
    args = (
        tuple(SPACES["open"].sample(jax.random.key(0), 3)) if function == "encode" else (latents,)
    )
    lowered = getattr(graph_vae, function).lower(bundle.cells.vae, *args, config=config)
    assert asks_for_all(lowered)


def test_the_macro_transformer_asks(bundle):
    task = Task("toy", (16, 16, 3), 10)
    bounds, config = CostBounds(*costs.bounds([task])), bundle.macro_config

    def sample(params, keys, contexts, limits, sizes):
        options = dict(bounds=bounds, heights=sizes, widths=sizes, config=config)
        return macro.sample(params, keys, contexts, limits, **options).tokens

    def logits(params, contexts, tokens):
        return macro.logits(params, contexts, tokens, config=config)

    contexts, sizes = np.zeros((1, NUM_FEATURES), np.float32), np.full(1, 16.0, np.float32)
    keys = jax.random.split(jax.random.key(0), 1)
    limits = np.full((1, 3), np.inf, np.float32)
    assert asks_for_all(jax.jit(sample).lower(bundle.macro, keys, contexts, limits, sizes))
    tokens = np.zeros((1, config.vocabulary.length), np.int32)
    assert asks_for_all(jax.jit(logits).lower(bundle.macro, contexts, tokens))


@pytest.mark.parametrize(
    "signature",
    [
        Signature("matmul", (2, 4, 4, 8), (8,)),
        Signature("dual_matmul", (2, 4, 4, 8), (8,)),
        Signature("convolution", (2, 4, 4, 8), (8, 3, 3, 1)),
        Signature("covariance", (2, 4, 4, 8)),
    ],
)
def test_programs_of_scores_ask(signature):
    assert asks_for_all(programs.lowered(signature))
