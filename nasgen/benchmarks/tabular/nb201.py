"""NAS-Bench-201 (Dong & Yang, ICLR 2020): 15,625 cells, three data sets, 27 devices.

A query trains for 200 epochs. Its seconds are those recorded for 12 epochs on CIFAR-10, times 200
over 12; on the other data sets, of which none are at hand, times images and pixels of an epoch.
"""

from functools import cache

import numpy as np
from jaxtyping import Int

from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular.digits import digit_table
from nasgen.benchmarks.tabular.table import Table
from nasgen.spaces import nb201

DATA_SETS = {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "in16"}
EPOCHS, SHORT = 200, 12
# images of an epoch times pixels, over those of the 25,000 that CIFAR-10's queries train on
_WORK = {"cifar10": 1.0, "cifar100": 2.0, "ImageNet16-120": 151_700 / 25_000 / 4}
DEVICES = (
    "1080ti_1",
    "1080ti_256",
    "1080ti_32",
    "2080ti_1",
    "2080ti_256",
    "2080ti_32",
    "essential_ph_1",
    "eyeriss",
    "fpga",
    "gold_6226",
    "gold_6240",
    "pixel2",
    "pixel3",
    "raspi4",
    "samsung_a50",
    "samsung_s7",
    "silver_4114",
    "silver_4210r",
    "titan_rtx_1",
    "titan_rtx_256",
    "titan_rtx_32",
    "titanx_1",
    "titanx_256",
    "titanx_32",
    "titanxp_1",
    "titanxp_256",
    "titanxp_32",
)


@cache
def load(data_set: str) -> Table:
    """The table of one of `DATA_SETS`. Raises UserError where the file is not there."""
    frame, short = tables.read(tables.NB201), DATA_SETS[data_set]
    latency = tables.read(tables.NB201_LATENCY)
    column = {name: frame[name].to_numpy(np.float64) for name in frame.columns if name[0] in "cifp"}
    seconds = column["cifar10_hp12_cost_s"] * EPOCHS / SHORT * _WORK[data_set]
    return digit_table(
        nb201.SPACE,
        _digits(),
        name=f"nb201/{data_set}",
        validation=column[f"{short}_valid_acc"],
        test=column[f"{short}_test_acc"],
        sees="validation accuracy, %",
        seconds=seconds,
        timing="recorded for 12 epochs on CIFAR-10, scaled to epochs, images and pixels",
        epochs=EPOCHS,
        curves={SHORT: column[f"{short}_valid_acc_hp12"]},
        costs={
            "params": column[f"params_m_{short}"] * 1e6,
            "macs": column[f"flops_m_{short}"] * 1e6,
        },
        latency={name: latency[f"lat_ms_{name}"].to_numpy(np.float64) for name in DEVICES},
    )


@cache
def _digits() -> Int[np.ndarray, "rows 6"]:
    names = tables.read(tables.NB201)["arch_str"]
    return np.array([nb201.digits(nb201.from_string(name)) for name in names])
