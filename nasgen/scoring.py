"""Zero-cost scores for users: architectures of any space, proxies by name, a task's own images."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Array, Key

from nasgen import data
from nasgen.data.task import Dataset, check_images
from nasgen.keys import children, generator
from nasgen.networks.plan import Plan
from nasgen.networks.plans import PLANS
from nasgen.proxies import PROXIES, Ensemble, Proxy, engine
from nasgen.proxies.engine import Scores
from nasgen.types import Architecture, Cell


def score(
    architectures: Sequence[Architecture | Cell | Plan],
    proxies: Sequence[str] | Mapping[str, Proxy | Ensemble],
    task: Dataset | str,
    key: Key[Array, ""],
    *,
    space: str = "open",
    batch: int = 64,
    double: bool = False,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Scores architectures at initialisation on one random batch of a task's training examples.

        nasgen.score(cells, ("snip", "nwot"), "digits", jax.random.key(0), space="nb201").values

    architectures: of `space`: `Architecture`s of `open`, `Cell`s of the others; or plans.
    proxies: names among `PROXIES`, or a dict of your own beside them: `PROXIES | {"mine":
        Proxy(("gradients",), function)}` (see `proxies.proxy.Passes` for what it is given).
    task: a data set (`data.load`), or the name of a built-in one.
    key: of the weights and the batch; the same key gives the same scores.

    Returns `values` by proxy and `reasons` where a value is not finite. Raises ValueError for an
    unknown space, proxy or task, for a task that is not of images and classes, and for a batch
    larger than the training set.
    """
    if space not in PLANS:
        raise ValueError(f"`space` must be one of {sorted(PLANS)}; got {space!r}.")
    dataset = data.load(task, seed=0) if isinstance(task, str) else task
    check_images(dataset.task)
    examples = len(dataset.train.y)
    if not 2 <= batch <= examples:
        raise ValueError(f"`batch` must be in 2..{examples}, the training examples; got {batch}.")
    keys = children(key, "batch", "networks")
    rows = generator(keys["batch"]).choice(examples, batch, replace=False)
    plans = [a if isinstance(a, Plan) else PLANS[space](a, dataset.task) for a in architectures]
    images, labels = np.asarray(dataset.train.x[rows], np.float32), dataset.train.y[rows]
    options = dict(double=double, on_scored=on_scored)
    return engine.score(plans, named(proxies), keys["networks"], images, labels, **options)


def named(proxies: Sequence[str] | Mapping[str, Proxy | Ensemble]) -> dict[str, Proxy | Ensemble]:
    """Proxies by name, with the parts of every ensemble among them."""
    if isinstance(proxies, Mapping):
        chosen = dict(proxies)
    else:
        names = [proxies] if isinstance(proxies, str) else list(proxies)
        for name in names:
            if name not in PROXIES:
                raise ValueError(f"`proxies` must be among {sorted(PROXIES)}; got {name!r}.")
        chosen = {name: PROXIES[name] for name in names}
    parts = [part for proxy in chosen.values() for part in getattr(proxy, "parts", ())]
    return {part: PROXIES[part] for part in parts if part not in chosen} | chosen
