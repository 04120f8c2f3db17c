"""What launchers print, taken apart as a shell would."""

import shlex

from launch import commands, local, slurm, tpu_pod

# What a shell would take apart, expand or run.
ARGUMENTS = [
    "--config=experiments/configs/quickstart.py",
    "--workdir=/shared/my 'own' run",
    "--config.design.baselines=('random',)",
    "--config.task.path=a; touch $HOME/x `id` *",
]
POD = ["pod-1", "--zone=us-central1-a", "--accelerator_type=v5litepod-16", "--runtime_version=v2"]
LAUNCHERS = {
    "local": (local.main, ["3"]),
    "slurm": (slurm.main, ["--nodes=2"]),
    "tpu_pod": (tpu_pod.main, [*POD, "--mount=sudo mount -t nfs 10.0.0.2:/share '/my disk'"]),
}


def dry(name, capsys, *flags):
    """The commands that a launcher prints, taken apart as a shell would."""
    main, own = LAUNCHERS[name]
    assert main([*own, *flags, "--dry_run", "--", *ARGUMENTS]) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def run_in(words):
    """Environment and arguments of the run in the words of its command."""
    place = next(i for i, word in enumerate(words) if word.endswith(commands.RUN))
    before = words[words.index("env") + 1 : place - 1]
    return dict(pair.split("=", 1) for pair in before), words[place + 1 :]


def inner(words):
    """The command line that ssh runs on a worker."""
    (line,) = (word.partition("=")[2] for word in words if word.startswith("--command="))
    return line
