"""params, macs, layers: counts that beat most proxies somewhere, so they stand in every table."""

from nasgen.proxies.proxy import Passes


def params(passes: Passes) -> float:
    """Trainable parameters."""
    return float(passes.costs.params)


def macs(passes: Passes) -> float:
    """Multiply-adds of one example."""
    return float(passes.costs.macs)


def layers(passes: Passes) -> float:
    """Convolutions and linear layers."""
    return float(passes.costs.layers)
