"""Data parallelism: one mesh axis `data` over the devices, parameters everywhere, batches split.

A training step under `jit` with these shardings computes what one device would: sums over the
batch, batch norm's statistics among them, are global.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import PyTree

AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A one-dimensional mesh over `devices`, by default every device of every process."""
    devices = jax.devices() if devices is None else list(devices)
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def default_mesh() -> Mesh | None:
    """The mesh over every device, or None where there is only one: nothing to share then."""
    return data_mesh() if jax.device_count() > 1 else None


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The sharding that splits the leading axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Splits the leading axis of every array over the mesh.

    Every process passes the same global batch of host arrays and keeps its own part. Raises
    ValueError where an axis does not divide by the number of devices.
    """

    def place(array: ArrayLike) -> jax.Array:
        host = np.asarray(array)
        size = host.shape[0] if host.ndim else 1
        if size % mesh.size or not host.ndim:
            raise ValueError(
                f"`batch` must divide by the {mesh.size} devices of the mesh; got {size} examples."
            )
        return jax.make_array_from_callback(host.shape, split(mesh), lambda index: host[index])

    return jax.tree.map(place, batch)


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Places a copy of every array and typed key on every device of the mesh.

    Every process passes the same values.
    """

    def place(leaf: ArrayLike) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, replicated(mesh), lambda index: host[index])

    return jax.tree.map(place, tree)
