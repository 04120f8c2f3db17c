"""What a trained network predicts of test examples, kept for whoever looks at the run.

predictions.npz   targets and predictions of some examples, spread over the split; a few raw
                  `inputs`, and `chosen`, their places among these

classification    predictions are classes, `confidences` their probabilities
multi_label       the labels' probabilities
regression        numbers in the targets' units
dense             `errors`: at each place the mean over examples of the absolute error, or of
                  being wrong; targets and predictions are those of the chosen alone
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Num

from nasgen.data.task import Dataset
from nasgen.pipeline.workdir import save_arrays
from nasgen.types import Task

FILE = "predictions.npz"
_MOST, _MOST_DENSE = 2_048, 128  # examples
_CHOSEN, _CHOSEN_DENSE = 12, 4  # of these shown
_SIDE, _MOMENTS = 64, 256  # of an example that are kept, at most

Logits = Float[np.ndarray, "kept *places outputs"]


def spread(num_examples: int, task: Task) -> Int[np.ndarray, " kept"]:
    """The examples whose logits are wanted."""
    most = min(_MOST_DENSE if task.is_dense else _MOST, num_examples)
    return np.unique(np.linspace(0, num_examples - 1, most).astype(int))


def keep_predictions(
    logits: Logits, places: Int[np.ndarray, " kept"], dataset: Dataset, folder: Path
) -> None:
    """Writes the file. logits: of the test examples at `places`."""
    task, targets = dataset.task, dataset.test.y[places]
    kept = predictions_of(logits, task)
    chosen = choose(kept, targets, task)
    raw = np.asarray(dataset.test.x[places[chosen]]) * dataset.std + dataset.mean
    if task.is_dense:
        errors = place_errors(logits, targets, task).mean(0, keepdims=True)
        kept = {name: _smaller(array[chosen], task) for name, array in kept.items()}
        kept["errors"] = _smaller(errors, task)[0]
        targets = _smaller(targets[chosen], task)
    save_arrays(folder / FILE, targets=targets, inputs=_smaller(raw, task), chosen=chosen, **kept)


def predictions_of(logits: Logits, task: Task) -> dict[str, np.ndarray]:
    """Logits as they are kept, see above."""
    if task.kind == "multi_label":
        return {"predictions": 1 / (1 + np.exp(-logits))}
    if task.loss != "cross_entropy":
        return {"predictions": logits}
    classes = logits.argmax(-1).astype(np.int32)
    if task.is_dense:
        return {"predictions": classes}
    parts = np.exp(logits - logits.max(-1, keepdims=True))
    return {"predictions": classes, "confidences": parts.max(-1) / parts.sum(-1)}


def place_errors(
    logits: Logits, targets: Num[np.ndarray, "kept *target"], task: Task
) -> Float[np.ndarray, "kept *places"]:
    """At each place of each example the absolute error, or 1 where the class is wrong."""
    if task.kind == "segmentation":
        return (logits.argmax(-1) != targets).astype(np.float32)
    return np.abs(logits - targets).mean(-1)


def choose(
    kept: dict[str, np.ndarray], targets: Num[np.ndarray, "kept *target"], task: Task
) -> Int[np.ndarray, " chosen"]:
    """The examples to look at: of classes the surest mistakes, then the least sure; of numbers and
    labels those that are missed most; of maps the first."""
    predictions = kept["predictions"]
    if task.is_dense:
        return np.arange(min(_CHOSEN_DENSE, len(predictions)))
    if task.kind == "classification":
        wrong, sure = predictions != targets, kept["confidences"]
        return np.lexsort((np.where(wrong, -sure, sure), ~wrong))[:_CHOSEN]
    errors = np.abs(predictions - targets).reshape(len(targets), -1).mean(1)
    return np.argsort(-errors, kind="stable")[:_CHOSEN]


def _smaller(arrays: np.ndarray, task: Task) -> np.ndarray:
    """Every so many rows and columns, or moments, so that no side is longer than what is kept."""
    for axis in range(1, 1 + task.dims):
        step = -(-arrays.shape[axis] // (_MOMENTS if task.is_series else _SIDE))
        arrays = arrays[(slice(None),) * axis + (slice(None, None, step),)]
    return arrays
