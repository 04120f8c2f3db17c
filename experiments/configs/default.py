"""Every key of a design run, its default and its meaning. Other configs start from this one.

    python experiments/run.py --config=experiments/configs/default.py --workdir=runs/first \
        --config.task.name=digits --config.budget.params=50_000

On the command line `--config.GROUP.KEY=VALUE` sets a key; whole numbers may have underscores.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """The default config."""
    config = ConfigDict()

    # Everything random in the run follows from this number.
    config.seed = 0
    # What to run: "design" is from task and budget to a trained network.
    config.pipeline = "design"
    # Keep compiled programs on disk, so that the next run need not compile them again.
    config.compilation_cache = True
    # The generative models: the name of shipped weights, or the folder of a pretrain_macro run.
    config.pretrained = "open"

    # What the network is for.
    config.task = ConfigDict()
    # "digits" (built in), "own" (yours, at `task.path`), "npz" (arrays of yours), "tfds" (of
    # tensorflow-datasets, named by `task.dataset`), or "nb360" (of NAS-Bench-360, likewise).
    config.task.name = "digits"
    # Your data: a folder of images by class, an .npz file with arrays `x` and `y`, or a .csv or
    # .parquet table of time series. For "tfds" and "nb360" the folder of their data sets.
    config.task.path = placeholder(str)
    config.task.dataset = placeholder(str)  # of "tfds": "mnist", "mnist:3.0.1"; of "nb360": "ecg"
    config.task.kind = placeholder(str)  # of prediction; left out, the labels tell
    config.task.metric = placeholder(str)  # your data, tfds: a name of types.METRICS, for the kind
    config.task.dims = placeholder(int)  # of .npz files: 2 for images, 1 for series
    config.task.size = placeholder(int)  # pixels of each side; left out, the median of the images
    config.task.corrupt = placeholder(str)  # images that cannot be read: "refuse" or "skip"
    config.task.label = placeholder(str)  # tables: the column of labels; left out, "label"
    config.task.series = placeholder(str)  # tables: the column that names the series of a row
    config.task.time = placeholder(str)  # tables: the column that orders the rows of a series
    config.task.length = placeholder(int)  # tables: pads and crops series to this many moments

    # Upper bounds, each optional: set at least one for a small network.
    config.budget = ConfigDict()
    config.budget.params = placeholder(int)  # trainable parameters
    config.budget.macs = placeholder(int)  # multiply-adds for one example (FLOPs / 2)
    config.budget.activation_memory = placeholder(int)  # bytes of all activations of one example
    config.budget.latency_ms = placeholder(float)  # predicted, one example, on this device

    # How the architecture is found.
    config.design = ConfigDict()
    config.design.method = "generate"  # see `nasgen/search/methods.py`; "paper": the paper's
    config.design.num_macros = 512  # macro architectures sampled in the first round
    config.design.cells_per_macro = 4  # choices of cells tried for each of them
    config.design.num_exact = 32  # candidates scored exactly, for each method
    config.design.score_batch = 32  # images in the batch of a score
    # What is maximised: the accuracy that is predicted after `train.steps`, or a zero-cost proxy or
    # ensemble by name; "t_cet" is the paper's.
    config.design.fitness = "predicted_accuracy"
    # File of this device's latencies for `budget.latency_ms`, measured and written (minutes) where
    # it lacks them; by default one in the user's cache.
    config.design.latency_table = placeholder(str)
    config.design.baselines = ("random", "evolution")  # methods beside it, with the same budgets
    # Networks of the best scores that are trained briefly, beside one drawn at random within the
    # budget; the one that does best on the validation images wins. 0: the best score wins.
    config.design.finalists = 0
    config.design.finalist_steps = 100  # in the first round; twice as many in each later one
    config.methods = get_methods()

    # How the winner is trained.
    config.train = ConfigDict()
    config.train.steps = 1_500  # optimiser steps
    config.train.batch_size = 64  # examples a step
    config.train.learning_rate = 0.1  # peak, SGD with Nesterov momentum, cosine to zero
    config.train.weight_decay = 5e-4  # of weights, not of norms and biases
    config.train.warmup_fraction = 0.05  # of the steps, linear
    config.train.label_smoothing = 0.1  # of classifications: mass spread over all classes
    config.train.ema = 0.0  # decay of the averaged weights, as 0.99; 0 means no average
    config.train.clip_norm = 0.0  # the most of a gradient's norm; 0 does not clip
    config.train.max_shift = 1  # pixels, or moments, of random shift in training
    config.train.flip = False  # mirror images at random; not for digits or letters
    config.train.min_crop = 0.0  # least area of a random crop, resized, as 0.08; 0 does not crop
    config.train.auto_augment = placeholder(str)  # a policy: "cifar10" or "imagenet"
    config.train.erasing = 0.0  # probability that a rectangle of an image is erased
    config.train.mixup = 0.0  # alpha of mixup, as 0.2; 0 mixes no examples
    # A teacher to distil from: the folder `network/` of another run on this data.
    config.train.teacher = placeholder(str)
    config.train.distillation = 0.0  # the teacher's part of the loss; above 0 where there is one
    config.train.temperature = 1.0  # that the logits of both are divided by
    # Squeeze-and-excitation in the network that is trained, in parts of a layer's width; 0: none.
    # Searches score without; of what they found, the best that keeps the budget with it is trained.
    config.train.excitation = 0.0
    config.train.bf16 = False  # compute in bfloat16; for accelerators
    config.train.micro_batches = 1  # parts of a batch, one after the other, in less memory
    config.train.patience = 0  # epochs in a row without a better validation metric; 0: any

    # What the report shows.
    config.report = ConfigDict()
    config.report.plots = True  # figures too (needs matplotlib)
    # The training also to Weights & Biases (needs wandb); WANDB_MODE=offline keeps it here.
    config.report.wandb = False

    return config


def get_methods() -> ConfigDict:
    """The settings of the methods of search."""
    methods = ConfigDict()
    methods.generate = ConfigDict()  # also of "cells_only", "macro_only"
    methods.generate.batch = 8  # exact scores a round
    methods.generate.elites = 8  # the best that are changed, by exact score and then by rank
    methods.generate.generations = 48  # of edits that are ranked before a round scores
    methods.generate.edits = 32  # in each of them
    methods.paper = ConfigDict()  # the paper's constants, for design.num_exact = 20_000
    methods.paper.spaces = 3_000  # scores that go to spaces, before their networks evolve
    methods.paper.population = 512  # of them the best go on
    methods.evolution = ConfigDict()  # as in Real et al.
    methods.evolution.population = 100  # at most half of all scores
    methods.evolution.tournament = 25  # of the population, in proportion
    methods.local_search = ConfigDict()
    methods.local_search.patience = 100  # neighbours that bring nothing, before a restart
    return methods
