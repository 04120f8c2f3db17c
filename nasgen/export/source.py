"""A network as one readable Python file that needs JAX and Flax only.

The layers, the reading of weights and the command line are those of `template`; the network itself
is written out, a line a layer, cell by cell. Every layer keeps its name in the plan, so weights
load by name.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as brief
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nasgen.networks.plan import Layer, Plan, Step
from nasgen.types import Architecture, Cell, Op, Task

LINE = 100  # columns
_TEMPLATE = Path(__file__).with_name("template.py")
_CELL = re.compile(r"stage(\d+)_cell(\d+)_(?:node(\d+)_)?(\w+)")
# Of each module of the template: its name, its required argument, its defaults.
_MODULES = {
    "conv": ("Conv", "out_channels", {"relu": True, "norm": "affine"}),
    "depthwise": ("Depthwise", "kernel", {"relu": True, "norm": "affine"}),
    "avg_pool": ("AvgPool", "kernel", {"relu": False, "norm": "plain"}),
    "linear": ("Linear", "out_channels", {"relu": False, "norm": "none", "bias": True}),
    "pixelwise": ("Linear", "out_channels", {"relu": False, "norm": "none", "bias": True}),
    "identity": ("Norm", None, {"relu": False, "norm": "affine"}),
}
_OPTIONS = {"kernel": 1, "stride": 1, "dilation": 1, "relu": False, "bias": False, "norm": "none"}


def model_source(
    plan: Plan,
    *,
    architecture: Architecture | Cell,
    ops: Sequence[Op],
    task: Task,
    mean: Float[np.ndarray, " channels"],
    std: Float[np.ndarray, " channels"],
) -> str:
    """The text of `model.py` for `plan`'s network; raw images enter as `(raw - mean) / std`.

    Raises ValueError for an architecture that is a cell of a tabular space: its networks have
    layers that the template lacks.
    """
    if not isinstance(architecture, Architecture):
        raise ValueError(
            "`architecture` must have a macro level, as those of `open`; networks of tabular "
            f"spaces cannot be exported; got {brief(architecture)}."
        )
    template = _TEMPLATE.read_text(encoding="utf-8")
    imports, rest = template.split("# <network>\n")
    _, rest = rest.split("# </network>\n")
    imports = imports[imports.index("import json") :].rstrip()
    network = _network(plan, architecture, ops, task)
    constants = _constants(plan, task, mean, std)
    return (
        f"{_docstring(plan, task)}\n\n{imports}\n\n{constants}\n\n\n{network}\n\n\n{rest.lstrip()}"
    )


def _docstring(plan: Plan, task: Task) -> str:
    shape, examples = map(str, plan.input_shape), "series" if task.is_series else "images"
    outputs, found = "classes", "the class of each"
    if task.kind in ("regression", "dense_regression"):
        outputs, found = "outputs", "the numbers for each"
    elif task.kind == "multi_label":
        outputs, found = "labels", "the probabilities of each one's labels"
    elif task.is_dense:
        found = "the class of each pixel"
    return (
        f'"""A network for the task {_plain(task.name)[:40]}: {plan.num_classes} {outputs}, '
        f"{examples} of {'x'.join(shape)}.\n\n"
        "Needs jax and flax, and weights.safetensors beside it.\n\n"
        f"    python model.py {examples}.npy      prints {found}\n\n"
        "    import model\n"
        "    variables = model.load()\n"
        f"    {outputs} = model.predict({examples}, variables)      # raw {examples} [number, "
        f"{', '.join(map(str, plan.input_shape))}]\n"
        f"    logits = model.logits(variables, model.standardise({examples}))\n\n"
        'To train on, apply with `mutable=["batch_stats"]`: batch norm then uses the batch.\n"""'
    )


def _plain(name: str) -> str:
    """A task's name without what could end a docstring."""
    return re.sub(r"[^\w .,:()/+-]", "_", name)


def _constants(plan: Plan, task: Task, mean: np.ndarray, std: np.ndarray) -> str:
    numbers = lambda values: "(" + "".join(f"{np.float32(v)!s}, " for v in values).rstrip() + ")"  # noqa: E731
    return (
        f"INPUT_SHAPE, NUM_CLASSES = {plan.input_shape}, {plan.num_classes}\n"
        f'KIND = "{task.kind}"\n'
        "# Of the raw values of the training examples, channel by channel.\n"
        f"MEAN = {numbers(mean)}\n"
        f"STD = {numbers(std)}"
    )


class _Place(NamedTuple):
    """Where a step stands: which cell (None: outside) and which node of it (None: none)."""

    cell: tuple[int, int] | None
    node: int | None
    suffix: str


def _place(step: Step) -> _Place:
    match = _CELL.fullmatch(step.name)
    if not match:
        return _Place(None, None, step.name)
    stage, repeat, node, suffix = match.groups()
    return _Place((int(stage), int(repeat)), int(node) if node else None, suffix)


def _network(plan: Plan, architecture: Architecture, ops: Sequence[Op], task: Task) -> str:
    """The class `Network`. `x` is a cell's input, `p` its projection, `n1` the value of node 1."""
    names, readers = {0: "x"}, {i for step in plan.steps for i in step.inputs}
    maps = {  # the head of a dense task reads them again
        step.inputs[0]: step.name.removeprefix("head_")
        for step in plan.steps
        if step.name.startswith("head_map")
    }
    lines, before = [], _Place((-1, -1), None, "")
    for value, step in enumerate(plan.steps, start=1):
        here, source = _place(step), step.inputs[0]
        if here.cell != before.cell:
            if names[source] != "x":  # what the cell before ended with
                lines.append(f"x = {names[source]}")
                names[source] = "x"
            lines += ["", f"# {_cell_title(here.cell, architecture, step, plan)}"]
            if source in maps:
                lines.append(f"{maps[source]} = x")
        if here.node is not None and (here.cell, here.node) != (before.cell, before.node):
            stage = here.cell[0]
            cell = architecture.cells[stage]
            lines.append(f"# {_node_title(here.node, cell, ops, task.is_series)}")
        is_map = step.name.startswith("head_map")
        joint = ", " if step.layer.kind == "excite" else " + "
        summed = maps[source] if is_map else joint.join(names[i] for i in step.inputs)
        target = _target(here)
        names[value] = target
        if value not in readers and value < len(plan.steps):
            lines += ["# read by no node:", *_call(step, None, summed)]
        else:
            lines += _call(step, target, summed)
        before = here
    column = ["x = x[:, :, None]  # a series is an image of one column", ""] * task.is_series
    end = ["return x[:, :, 0]" if task.is_series and task.is_dense else "return x"]
    body = "\n".join(f"        {line}" if line else "" for line in [*column, *lines[1:], *end])
    places = "length" if task.is_series else "height, width"
    examples = "series" if task.is_series else "images"
    logits = "logits of each pixel" if task.is_dense else "logits [batch, classes]"
    return (
        "class Network(nn.Module):\n"
        f'    """Standardised {examples} [batch, {places}, channels] to {logits}."""'
        f"\n\n    @nn.compact\n    def __call__(self, x):\n{body}"
    )


def _target(here: _Place) -> str:
    """The variable of a step's value."""
    if here.suffix.startswith("excite_"):
        return "gate"
    if here.suffix.startswith("head_map"):
        return here.suffix.removeprefix("head_")
    return "p" if here.suffix == "proj" else "x" if here.node is None else f"n{here.node}"


def _cell_title(
    cell: tuple[int, int] | None, architecture: Architecture, step: Step, plan: Plan
) -> str:
    if cell is None:
        return "stem" if step == plan.steps[0] else "head"
    stage = architecture.macro.stages[cell[0]]
    stride = stage.stride if cell[1] == 0 else 1
    before = step.layer.in_channels
    sides = step.in_size[: len(plan.input_shape) - 1]
    before_after = [sides, [-(-n // stride) for n in sides]][: 2 if stride > 1 else 1]
    sizes = " -> ".join("x".join(map(str, one)) for one in before_after)
    widths = f"{before} -> {stage.channels}" if before != stage.channels else f"{stage.channels}"
    return f"stage {cell[0]}, cell {cell[1] + 1} of {stage.repeats}: {widths} channels, {sizes}"


def _node_title(node: int, cell: Cell, ops: Sequence[Op], is_series: bool) -> str:
    op = ops[cell.ops[node - 1]]
    window = f"{op.kernel}" if is_series else f"{op.kernel}x{op.kernel}"
    return f"node {node}: {op.kind}" + (f" {window}" if op.kernel else "")


def _call(step: Step, target: str | None, argument: str) -> list[str]:
    """The statement of one step, wrapped where it is longer than a line."""
    start = f"{target} = " if target else ""
    if step.layer.kind == "identity" and step.layer.norm == "none" and not step.layer.relu:
        return [f"{start}{argument}"]
    if step.layer.kind == "squeeze":
        return [f"{start}{argument}.mean((1, 2), keepdims=True)"]
    if step.layer.kind == "excite":
        return [f"{start}excite({argument})"]
    if step.layer.kind == "upsample":
        return [f"{start}upsample({argument}, {step.out_size[0]}, {step.out_size[1]})"]
    module = f"{start}{_module(step.layer, step.name)}("
    line = f"{module}{argument})"
    return [line] if len(line) + 8 <= LINE else [module, f"    {argument}", ")"]


def _module(layer: Layer, name: str) -> str:
    """A layer as a call of its module, options at their default left out."""
    module, required, defaults = _MODULES[layer.kind]
    values = {**layer._asdict(), "kernel": _kernel(layer)}
    given = [str(values[required])] if required else []
    given += ["mean=False"] if layer.kind == "pixelwise" else []
    for option, default in {**_OPTIONS, **defaults}.items():
        value = values[option]
        if option != required and value != default:
            given.append(f"{option}={None if value == 'none' else value!r}")
    return f"{module}({', '.join([*given, f'name={name!r}'])})".replace("'", '"')


def _kernel(layer: Layer) -> int | tuple[int, int]:
    """One number where the window is square."""
    return layer.kernel if layer.dims == 2 or layer.kernel == 1 else layer.window
