"""A task in words: what its examples are called, what its network does, and what it cannot do."""

from nasgen.types import KINDS, METRICS, Task

# what a network does with `{examples}`; `{number}` counts its outputs, `{places}` are pixels
_DOES = {
    "classification": "tells {number} apart in {examples}",
    "multi_label": "finds {number} in {examples}",
    "regression": "predicts {number} from {examples}",
    "segmentation": "tells {number} apart at each {place} of {examples}",
    "dense_regression": "predicts {number} for each {place} of {examples}",
}
_OUTPUTS = {
    "classification": ("class", "classes"),
    "multi_label": ("label", "labels"),
    "regression": ("number", "numbers"),
    "segmentation": ("class", "classes"),
    "dense_regression": ("number", "numbers"),
}
_KNOWS = {
    "classification": (
        "It knows only the classes it was trained on, and gives one of them for any {example}."
    ),
    "multi_label": "It knows only the labels it was trained on; of others it says nothing.",
    "regression": (
        "It gives numbers for any {example}, also for one like none it was trained on, and does "
        "not say how sure it is."
    ),
    "segmentation": (
        "It knows only the classes it was trained on, and gives each {place} of any {example} one "
        "of them."
    ),
    "dense_regression": (
        "It gives numbers for any {example}, also for one like none it was trained on, and does "
        "not say how sure it is."
    ),
}
_GIVES = {
    "classification": "classes and their probabilities, likeliest first",
    "multi_label": "labels and their probabilities, likeliest first",
    "regression": "the numbers predicted for each {example}",
    "segmentation": "a map of classes beside each {example}, and the share of each class",
    "dense_regression": "an array of numbers beside each {example}",
}
_PREDICTIONS = {
    "classification": "classes",
    "multi_label": "probabilities",
    "regression": "numbers",
    "segmentation": "classes",
    "dense_regression": "numbers",
}
_LOSSES = {
    "cross_entropy": "cross-entropy",
    "binary_cross_entropy": "binary cross-entropy",
    "mean_squared_error": "mean squared error, standardised",
}


def examples(task: Task, *, number: int = 2) -> str:
    """`images`, or `image` where there is one; or series."""
    return "series" if task.is_series else ("image" if number == 1 else "images")


def outputs(task: Task) -> str:
    """`10 classes`, `1 number`."""
    return f"{task.num_classes:,} {_OUTPUTS[task.kind][task.num_classes != 1]}"


def shape(task: Task) -> str:
    """Of one example: `8x8x1`, `500x2`."""
    return "x".join(map(str, task.input_shape))


def does(task: Task) -> str:
    """What its network does: `tells 10 classes apart in images of 8x8x1`."""
    words = dict(number=outputs(task), examples=f"{examples(task)} of {shape(task)}")
    return _DOES[task.kind].format(place=_place(task), **words)


def knows(task: Task) -> str:
    """The first of its limits, in a sentence."""
    return _KNOWS[task.kind].format(example=examples(task, number=1), place=_place(task))


def gives(task: Task) -> str:
    """What `predict.py` tells."""
    return _GIVES[task.kind].format(example=examples(task, number=1))


def predictions(task: Task) -> str:
    """What `model.predict` returns, in a word."""
    return _PREDICTIONS[task.kind]


def head(task: Task) -> str:
    """How its network ends."""
    if task.is_dense:
        return (
            "then from the coarsest map on each one doubled and added to the next finer, and "
            f"what makes {outputs(task)} of each {_place(task)}"
        )
    return f"the mean over {_place(task)}s and a linear layer"


def has_probabilities(task: Task) -> bool:
    """Whether the network's outputs are the logits of probabilities."""
    return KINDS[task.kind].loss != "mean_squared_error"


def loss(task: Task) -> str:
    """What its loss is called."""
    return _LOSSES.get(task.loss, task.loss)


def metric(task: Task) -> str:
    """What its metric is called, with a word where less is better."""
    one = METRICS[task.metric]
    return one.title if one.higher else f"{one.title} (lower is better{_unit(task)})"


def title(task: Task) -> str:
    """What its metric is called."""
    return METRICS[task.metric].title


def amount(value: float, task: Task) -> str:
    """A value of its metric: `97.5 %`, or four digits where it is no fraction."""
    return f"{100 * value:.1f} %" if METRICS[task.metric].fraction else f"{value:.4g}"


def _unit(task: Task) -> str:
    bare = METRICS[task.metric].fraction or task.metric == "relative_l2"
    return "" if bare else "; in the units of the targets"


def _place(task: Task) -> str:
    return "moment" if task.is_series else "pixel"
