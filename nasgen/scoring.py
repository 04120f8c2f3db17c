"""Zero-cost scores for users: architectures of any space, proxies by name, a task's own images."""

from collections.abc import Callable, Mapping, Sequence
from reprlib import repr as brief
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen import data
from nasgen.data.task import Dataset, Split
from nasgen.keys import children
from nasgen.networks.plan import Plan
from nasgen.networks.plans import PLANS
from nasgen.pipeline.config import TASKS, nearest
from nasgen.pipeline.examples import examples_of
from nasgen.proxies import PROXIES, Ensemble, Passes, Proxy, engine
from nasgen.proxies.bare import named_by_use
from nasgen.proxies.engine import Scores, check_batch
from nasgen.spaces import SPACES, graphs
from nasgen.types import Architecture, Cell, CellBatch, Task

ProxyLike = Proxy | Ensemble | Callable[[Passes], float]


def score(
    architectures: Sequence[Architecture | Cell | Plan] | CellBatch,
    proxies: str | Sequence[str] | Mapping[str, ProxyLike],
    task: Dataset | Task | tuple[np.ndarray, np.ndarray] | str,
    key: Key[Array, ""],
    *,
    space: str = "open",
    batch: int = 64,
    double: bool = False,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Scores architectures at initialisation on one batch of a task's images.

        nasgen.score(cells, ("snip", "nwot"), "digits", jax.random.key(0), space="nb201").values

    architectures: of `space`: `Architecture`s of `open`, `Cell`s of the others; or plans.
    proxies: names among `PROXIES`, or a dict of your own beside them: `PROXIES | {"mine":
        Proxy(("gradients",), function)}` (see `proxies.proxy.Passes` for what it is given). Of a
        bare function the passes are those that it reads of the first network.
    task: a data set (`data.load`) or the name of a built-in one, of whose training examples a
        random batch is taken; `(images, labels)`, which are the batch; or a `Task` without
        examples, whose batch is of natural images with random labels.
    key: of the weights and the batch; the same key gives the same scores.
    batch: examples. double: passes in float64.

    Returns `values` by proxy and `reasons` where a value is not finite. Raises ValueError, in one
    line, for what cannot be scored: an unknown space, proxy or task, an architecture of another
    space, a batch larger than the training set.
    """
    if space not in PLANS:
        known = f"must be one of {', '.join(PLANS)}; got {space!r}"
        raise ValueError(f"`space` {known}{nearest(str(space), PLANS)}")
    if not isinstance(key, jax.Array):
        raise ValueError(f"`key` must be a key, as jax.random.key(0); got {brief(key)}.")
    keys, chosen = children(key, "batch", "networks"), named(proxies)
    task, (images, labels) = batch_of(task, keys["batch"], batch)
    plans = plans_of(architectures, space, task)
    ready = {name: _ready(proxy, plans, images, labels) for name, proxy in chosen.items()}
    options = dict(double=double, on_scored=on_scored)
    return engine.score(plans, ready, keys["networks"], images, labels, **options)


def named(proxies: Any) -> dict[str, ProxyLike]:
    """Proxies by name, with the parts of every ensemble among them. Raises ValueError."""
    if isinstance(proxies, Mapping):
        for name, proxy in proxies.items():
            if not callable(proxy) and not isinstance(proxy, Proxy | Ensemble):
                raise ValueError(
                    f"`proxies[{name!r}]` must be a Proxy, an Ensemble or a function of Passes; "
                    f"got {brief(proxy)}."
                )
        chosen = dict(proxies)
    else:
        names = [proxies] if isinstance(proxies, str) else list(proxies)
        chosen = {name: _known(name) for name in names}
    parts = [part for proxy in chosen.values() for part in getattr(proxy, "parts", ())]
    return {part: _known(part) for part in parts if part not in chosen} | chosen


def _known(name: Any) -> Proxy | Ensemble:
    if name not in PROXIES:
        known = f"must be among {', '.join(sorted(PROXIES))}; got {name!r}"
        raise ValueError(f"`proxies` {known}{nearest(str(name), PROXIES)}")
    return PROXIES[name]


def _ready(proxy: ProxyLike, plans: Sequence[Plan], images, labels) -> Proxy | Ensemble:
    if isinstance(proxy, Proxy | Ensemble):
        return proxy
    if not plans:
        return Proxy((), proxy)
    check_batch(plans[0], images, labels)
    return named_by_use(proxy, plans[0], images, labels)


def batch_of(task: Any, key: Key[Array, ""], num: Any) -> tuple[Task, Split]:
    """The task that is meant, and `num` of its examples. Raises ValueError."""
    if not isinstance(num, int | np.integer) or num < 2:
        raise ValueError(f"`batch` must be a whole number of at least 2; got {num!r}.")
    if isinstance(task, str):
        task = _built_in(task)
    if isinstance(task, Task | Dataset):
        about = task.task if isinstance(task, Dataset) else task
        return about, examples_of(key, task, num)
    if isinstance(task, tuple | list) and len(task) == 2:
        return _given(*(np.asarray(part) for part in task))
    raise ValueError(
        "`task` must be a data set, the name of one, a Task or (images, labels); "
        f"got {brief(task)}."
    )


def _given(images: np.ndarray, labels: np.ndarray) -> tuple[Task, Split]:
    fits = images.ndim == 4 and labels.shape == images.shape[:1] and len(labels) > 1
    if not fits or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "`task` must be two or more images [batch, height, width, channels] and a whole-number "
            f"label of each; got shapes {images.shape} and {labels.shape} ({labels.dtype})."
        )
    task = Task("given", images.shape[1:], max(int(labels.max()) + 1, 2))
    return task, Split(images.astype(np.float32), labels.astype(np.int32))


def _built_in(name: str) -> Dataset:
    if TASKS.get(name):
        raise ValueError(
            f"`task` must be a data set where it needs a file: "
            f"nasgen.data.load({name!r}, path=FILE, seed=0); got {name!r}."
        )
    try:
        return data.load(name, seed=0)
    except ValueError as error:
        raise ValueError(str(error).replace("`name`", "`task`")) from None


def plans_of(architectures: Any, space: str, task: Task) -> list[Plan]:
    """The networks of architectures of a space; plans are left as they are. Raises ValueError."""
    if isinstance(architectures, CellBatch):
        architectures = graphs.unpack(architectures)
    kind = Architecture if space == "open" else Cell
    if isinstance(architectures, str | Architecture | Cell | Plan):
        raise ValueError(f"`architectures` must be a list of them; got {brief(architectures)}.")
    plans = []
    for number, one in enumerate(architectures):
        if not isinstance(one, kind | Plan):
            raise ValueError(
                f"`architectures` of space {space} must be {kind.__name__}s or plans; number "
                f"{number} is {brief(one)}{_space_hint(one, space)}."
            )
        if not isinstance(one, Plan):
            _check_cells(one, number, space)
            one = PLANS[space](one, task)
        plans.append(one)
    return plans


def _space_hint(one: Any, space: str) -> str:
    """Where it is of a kind that another space has."""
    if isinstance(one, Cell):
        others = [name for name in PLANS if name != "open"]
        return f": of a cell, `space` names {', '.join(others)}"
    return ": an Architecture is of space 'open'" if isinstance(one, Architecture) else ""


def _check_cells(one: Architecture | Cell, number: int, space: str) -> None:
    cells = one.cells if isinstance(one, Architecture) else (one,)
    if isinstance(one, Architecture) and len(cells) != len(one.macro.stages):
        raise ValueError(
            f"`architectures` must have a cell for each stage; number {number} has {len(cells)} "
            f"for {len(one.macro.stages)} stages."
        )
    try:
        valid = SPACES[space].is_valid(graphs.pack(cells))
    except (IndexError, OverflowError, ValueError):  # too many ops or edges out of range
        valid = np.zeros(len(cells), bool)
    if not valid.all():
        raise ValueError(
            f"`architectures` must have cells of space {space}; number {number} has "
            f"{brief(cells[int(np.argmin(valid))])}."
        )
