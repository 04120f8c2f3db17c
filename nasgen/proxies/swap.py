"""SWAP-Score (Peng et al., ICLR 2024): sample-wise activation patterns.

A unit's pattern says for each example of the batch whether the unit's ReLU passes it on; the score
is the number of distinct patterns among all units of all ReLUs.
"""

import numpy as np
from jaxtyping import UInt32

from nasgen.proxies.proxy import Passes


def swap(passes: Passes) -> float:
    """Distinct columns of bits."""
    patterns = [words for words in passes.patterns if words.size]
    return float(_distinct(np.concatenate(patterns, 1))) if patterns else 0.0


def _distinct(words: UInt32[np.ndarray, "words units"]) -> int:
    ordered = words[:, np.lexsort(words)]
    return 1 + int((ordered[:, 1:] != ordered[:, :-1]).any(0).sum())
