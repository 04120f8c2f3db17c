"""nasgen on a table: the shipped flow, to which accuracy becomes one more condition.

Nothing of the table is known but its cells. What the flow was pretrained with, SNIP-SNR and NWOT as
the regressor reads them off a latent, says which cells are tried first. Then, in rounds: a Gaussian
process is fitted to what was trained; it labels a sample of cells; the flow is trained on for some
steps with those labels as one more condition; cells of the highest accuracy are drawn from it, and
neighbours of the best; the most promising of these are trained. No round looks at the whole space.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from nasgen.benchmarks.tabular import gaussian_process
from nasgen.benchmarks.tabular.features import features
from nasgen.benchmarks.tabular.table import Table
from nasgen.keys import children, generator
from nasgen.models import flow, graph_vae
from nasgen.models.flow import FlowConfig
from nasgen.pipeline.chunks import chunked, encode_all
from nasgen.pretrained.bundle import CellBundle
from nasgen.spaces import graphs
from nasgen.types import Architecture, CellBatch

_SCORES = ("log_snip_snr", "nwot")
_DROPPED = 0.1  # how often an example's accuracy is not told
_MAX_ROUNDS = 1_000  # with bounds that hardly any cell keeps, many find nothing
_ASKED = (0.98, 1.0)  # quantiles of the labels of the sample, between which accuracy is asked for


class Settings(NamedTuple):
    """first: networks that zero-cost scores alone choose, before the process is asked.
    batch: networks of a round. draws: of the flow, a round. mutants: of the best, a round.
    sample: cells that the flow is trained on with. steps, batch_size, learning_rate: of it."""

    first: int = 5
    batch: int = 5
    draws: int = 256
    mutants: int = 64
    sample: int = 4096
    steps: int = 40
    batch_size: int = 128
    learning_rate: float = 3e-3


class Known(NamedTuple):
    """What is known of a table's cells, row by row, before any is trained.

    latents: standardised. conditions: by the regressor, standardised. features: of the process."""

    bundle: CellBundle
    latents: Float[np.ndarray, "rows latent"]
    conditions: Float[np.ndarray, "rows condition"]
    features: Float[np.ndarray, "rows features"]


def know(table: Table, bundle: CellBundle) -> Known:
    """Encodes every cell of the table, which costs nothing but seconds."""
    raw = encode_all(bundle.vae, bundle.vae_config, *table.cells)
    predict = partial(graph_vae.predict_conditions, bundle.vae, config=bundle.vae_config)
    conditions = np.array(chunked(predict, raw))
    joined = np.concatenate([features(table), conditions], 1)
    return Known(bundle, bundle.latents.apply(raw).astype(np.float32), conditions, joined)


def zero_cost(known: Known) -> Float[np.ndarray, " rows"]:
    """The score of a cell that no network is built for."""
    names = list(known.bundle.names)
    return known.conditions[:, [names.index(name) for name in _SCORES]].sum(1)


def search(
    key: Key[Array, ""],
    table: Table,
    known: Known,
    settings: Settings,
    num: int,
    *,
    allowed: Bool[np.ndarray, " rows"] | None = None,
) -> Int[np.ndarray, " queries"]:
    """The rows that are trained, in order: `num`, or fewer where nothing new is found.

    allowed: rows that keep a bound on what is known without training; no other is ever asked."""
    keys = children(key, "sample", "rounds")
    params, config = flow.widen(known.bundle.flow, known.bundle.flow_config)
    sample = _some(generator(keys["sample"]), table.num_rows, settings.sample)
    queried = np.zeros(0, int)
    for number in range(_MAX_ROUNDS):
        if len(queried) >= num:
            break
        one = children(jax.random.fold_in(keys["rounds"], number), "refit", "draws", "mutants")
        draw = partial(_drawn, one["draws"], table, known, num=settings.draws)
        if not len(queried):
            found = _new(draw(params, config), queried, allowed)
            found = found[np.argsort(-zero_cost(known)[found], kind="stable")]
            queried = found[: min(settings.first, num)]
            continue
        seen, most = table.validation[queried], min(settings.batch, num - len(queried))
        process = gaussian_process.fit(known.features[queried], seen)
        accuracy = _standardised(process.predict(known.features[sample]))
        params = _refit(one["refit"], params, config, known, sample, accuracy, settings)
        best = queried[np.argsort(-seen, kind="stable")[: settings.batch]]
        near = _mutants(one["mutants"], table, best, settings.mutants)
        drawn = draw(params, config, asked=np.quantile(accuracy, _ASKED))
        found = _new(np.union1d(drawn, near), queried, allowed)
        found = gaussian_process.most_promising(process, known.features, seen, found, most)
        queried = np.concatenate([queried, found])
    return queried


def _new(rows, queried, allowed: Bool[np.ndarray, " rows"] | None) -> Int[np.ndarray, " new"]:
    """Those that nobody asked and that are allowed."""
    rows = np.setdiff1d(rows, queried)
    return rows if allowed is None else rows[allowed[rows]]


def _standardised(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return ((values - values.mean()) / (values.std() + 1e-6)).astype(np.float32)


def _drawn(
    key: Key[Array, ""],
    table: Table,
    known: Known,
    params,
    config: FlowConfig,
    *,
    num: int,
    asked: Float[np.ndarray, " range"] | None = None,
) -> Int[np.ndarray, " rows"]:
    """Rows of cells of the flow, each once; asked: between which accuracies, None for any."""
    keys = children(key, "accuracy", "noise")
    mask = np.zeros((num, config.condition_dim), bool)
    wanted = np.zeros(mask.shape, np.float32)
    if asked is not None:
        mask[:] = _accuracy_alone(config)
        wanted[:, -1] = generator(keys["accuracy"]).uniform(*asked, num)
    latents = flow.sample(params, keys["noise"], wanted, mask, config=config)
    bundle = known.bundle
    latents = bundle.latents.undo(latents).astype(jnp.float32)
    none = np.zeros((num, len(bundle.names)), np.float32)
    options = dict(config=bundle.vae_config)
    cells = graph_vae.decode(bundle.vae, latents, none, none.astype(bool), **options)
    return _rows(table, graphs.unpack(CellBatch(*map(np.asarray, cells))))


def _accuracy_alone(config: FlowConfig) -> Bool[np.ndarray, " condition"]:
    """The mask that gives the last condition."""
    return np.arange(config.condition_dim) == config.condition_dim - 1


def _some(rng: np.random.Generator, total: int, num: int) -> Int[np.ndarray, " rows"]:
    return rng.choice(total, min(num, total), replace=False)


def _rows(table: Table, cells) -> Int[np.ndarray, " rows"]:
    macro = table.architecture(0).macro
    rows = (table.row(Architecture(macro, (cell,))) for cell in cells)
    return np.unique([row for row in rows if row is not None]).astype(int)


def _mutants(key, table: Table, parents, num: int) -> Int[np.ndarray, " rows"]:
    keys = jax.random.split(key, num)
    return np.unique([table.mutate(k, int(parents[i % len(parents)])) for i, k in enumerate(keys)])


def _refit(key, params, config: FlowConfig, known: Known, sample, accuracy, settings: Settings):
    """The flow after some steps with the labels, the other conditions not given; half of the
    examples are among the best tenth."""
    keys = children(key, "rows", "steps")
    rng = generator(keys["rows"])
    shape = settings.steps, settings.batch_size // 2
    best = np.argsort(-accuracy, kind="stable")[: max(len(sample) // 10, 1)]
    chosen = np.concatenate(
        [rng.integers(0, len(sample), shape), best[rng.integers(0, len(best), shape)]], 1
    )
    conditions = np.zeros((*chosen.shape, config.condition_dim), np.float32)
    conditions[..., -1] = accuracy[chosen]
    batches = known.latents[sample][chosen], conditions
    return _train(params, keys["steps"], *batches, config, settings.learning_rate)


@partial(jax.jit, static_argnames=("config", "learning_rate"))
def _train(params, key, latents, conditions, config: FlowConfig, learning_rate: float):
    tx, given = optax.adam(learning_rate), _accuracy_alone(config)

    def step(carry, inputs):
        params, state = carry
        number, latents, conditions = inputs

        def loss_fn(params):
            own = jax.random.fold_in(key, number)
            options = dict(config=config, drop_probability=_DROPPED)
            return flow.flow_matching_loss(params, own, latents, conditions, given, **options)

        updates, state = tx.update(jax.grad(loss_fn)(params), state)
        return (optax.apply_updates(params, updates), state), None

    numbers = jnp.arange(len(latents))
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), (numbers, latents, conditions))
    return params
