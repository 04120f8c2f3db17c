"""Joins the processes of a run, which `launch/` starts with the same command everywhere. Who this
one is comes from the environment:

    NASGEN_DISTRIBUTED=auto         JAX finds the others itself: on a TPU pod, under SLURM
    NASGEN_COORDINATOR=HOST:PORT    else: where the first process listens,
    NASGEN_NUM_PROCESSES=N          how many there are,
    NASGEN_PROCESS_ID=K             and which this is, 0 being the first

Without them a run is one process. Nothing here imports JAX before it has to.
"""

import re
import socket
from collections.abc import Mapping
from typing import NamedTuple

from nasgen.pipeline.config import UserError

AUTO = "NASGEN_DISTRIBUTED"
COORDINATOR, NUM, ID = "NASGEN_COORDINATOR", "NASGEN_NUM_PROCESSES", "NASGEN_PROCESS_ID"
# Pipelines that know of other processes. Benchmarks measure one machine, `fitness_table` starts
# processes of its own.
TOGETHER = ("design", "compare", "train_model", "pretrain_cells", "pretrain_macro")
HEARTBEAT = 15  # seconds without a sign of life after which a process counts as gone


class Place(NamedTuple):
    """Which process this is, of how many; `auto`: all None, JAX finds out."""

    coordinator: str | None = None
    num: int | None = None
    index: int | None = None


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def place(environment: Mapping[str, str]) -> Place | None:
    """What the environment says, None where it says nothing. Raises UserError where it is off."""
    auto = environment.get(AUTO)
    given = {name: environment[name] for name in (COORDINATOR, NUM, ID) if name in environment}
    if auto is not None:
        if auto != "auto":
            raise UserError(f"`{AUTO}` must be 'auto', or not be set; got {auto!r}.")
        if given:
            raise UserError(f"`{AUTO}` must stand alone; got {', '.join(given)} too.")
        return Place()
    if not given:
        return None
    missing = [name for name in (COORDINATOR, NUM, ID) if name not in given]
    if missing:
        raise UserError(f"`{missing[0]}` must be set too; got {', '.join(given)} alone.")
    address, num = given[COORDINATOR], _whole(NUM, given[NUM], 1)
    port = re.fullmatch(r"\S+:(\d{1,5})", address)
    if port is None or not 0 < int(port[1]) < 2**16:
        raise UserError(f"`{COORDINATOR}` must be HOST:PORT; got {address!r}.")
    index = _whole(ID, given[ID], 0)
    if index >= num:
        raise UserError(f"`{ID}` must be in 0..{num - 1}, below {NUM}; got {index}.")
    return Place(address, num, index)


def join(here: Place, pipeline: str) -> None:
    """Meets the other processes. Raises UserError where JAX finds none, and for a pipeline that
    cannot be shared out."""
    import jax

    # It would take SIGTERM for a notice of pre-emption, and the process would stay.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            *here,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
            cluster_detection_method=None if here == Place() else "deactivate",
        )
    except ValueError:
        raise UserError(
            f"`{AUTO}` must be set where JAX finds the other processes (a TPU pod, SLURM), which "
            f"it does not here: set {COORDINATOR}, {NUM} and {ID}, or none for one process."
        ) from None
    if jax.process_count() > 1 and pipeline not in TOGETHER:
        raise UserError(
            f"`config.pipeline` must be one of {', '.join(TOGETHER)} in several processes; "
            f"got {pipeline} in {jax.process_count()}: run it without {NUM}."
        )


def _whole(name: str, value: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,6}", value) or int(value) < least:
        raise UserError(f"`{name}` must be a whole number of at least {least}; got {value!r}.")
    return int(value)
