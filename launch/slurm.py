"""Runs one pipeline under SLURM, a process a task (a task a GPU, or one a node without), by
submitit (the extra `nasgen[slurm]`). When the time is up, the job queues again and the run resumes.

    python launch/slurm.py --nodes=2 [--gpus_per_node=4] [--cpus_per_task=8] [--mem_gb=64]
        [--hours=24] [--partition=NAME] [--account=NAME] [--timeouts=10] [--logs=FOLDER]
        [--dry_run] -- --config=FILE --workdir=FOLDER [--config.KEY=VALUE ...]

The workdir and the folder of the logs lie on a disk that all nodes share.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launch.commands import RUN, Parser, run_command, shown, whole

ROOT = Path(__file__).resolve().parents[1]
WARNING = 120  # seconds before the end at which SLURM says so
SIGNAL = "USR2"  # by which it does; submitit queues the job again then
_OPTIONAL = ("gpus_per_node", "cpus_per_task", "mem_gb", "partition", "account")


class Job(NamedTuple):
    """What is asked of SLURM. timeouts: how often the job queues again. logs: a shared folder."""

    nodes: int
    gpus_per_node: int | None
    cpus_per_task: int | None
    mem_gb: int | None
    hours: int
    partition: str | None
    account: str | None
    timeouts: int
    logs: str


def parameters(job: Job) -> dict[str, Any]:
    """As submitit's `update_parameters` takes them."""
    given = {name: getattr(job, name) for name in _OPTIONAL if getattr(job, name) is not None}
    slurm = {f"slurm_{name}": given.pop(name) for name in ("partition", "account") if name in given}
    return {
        "name": "nasgen",
        "nodes": job.nodes,
        "tasks_per_node": job.gpus_per_node or 1,
        "timeout_min": 60 * job.hours,
        "slurm_signal_delay_s": WARNING,
        "slurm_additional_parameters": {"requeue": True},
        **given,
        **slurm,
    }


def sbatch(job: Job) -> list[str]:
    """The command that queues the job, its options as submitit writes them into its script."""
    optional = {
        "gpus-per-node": job.gpus_per_node,
        "cpus-per-task": job.cpus_per_task,
        "mem": job.mem_gb and f"{job.mem_gb}GB",
        "partition": job.partition,
        "account": job.account,
    }
    options = {
        "job-name": "nasgen",
        "nodes": job.nodes,
        "ntasks-per-node": job.gpus_per_node or 1,
        "time": 60 * job.hours,
        "signal": f"{SIGNAL}@{WARNING}",
        "open-mode": "append",
        **{name: value for name, value in optional.items() if value is not None},
    }
    script = f"{job.logs}/submission_file.sh"
    return ["sbatch", "--requeue", *(f"--{k}={value}" for k, value in options.items()), script]


def task(arguments: Sequence[str], *, python: str = sys.executable) -> list[str]:
    """The command of every task: JAX finds out from SLURM which it is."""
    environment = {"NASGEN_DISTRIBUTED": "auto"}
    command = run_command(arguments, environment, python=python, script=str(ROOT / RUN))
    # SLURM warns every process of a task; the run itself has nothing to do with it.
    # A job that queued again may run on other nodes: it says that it is the same.
    script = f'trap "" {SIGNAL}; NASGEN_LAUNCH="slurm $SLURM_JOB_ID" exec "$@"'
    return ["sh", "-c", script, "sh", *command]


class Task:
    """What submitit runs in each task, and queues again when the time is up."""

    def __init__(self, command: Sequence[str]):
        self.command = list(command)

    def __call__(self) -> None:
        """Raises CalledProcessError where the run ends badly, so that the job does."""
        subprocess.run(self.command, check=True)

    def checkpoint(self):
        """The same once more: the workdir knows how far it came."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(job: Job, command: Sequence[str]) -> str:
    """Queues the job; returns its number."""
    import submitit

    executor = submitit.AutoExecutor(job.logs, cluster="slurm", slurm_max_num_timeout=job.timeouts)
    executor.update_parameters(**parameters(job))
    return executor.submit(Task(command)).job_id


def main(argv: Sequence[str]) -> int:
    """Runs the command line `argv`; returns the exit code."""
    parser = Parser(prog="launch/slurm.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--nodes", type=whole, default=1)
    for name in ("gpus_per_node", "cpus_per_task", "mem_gb"):
        parser.add_argument(f"--{name}", type=whole)
    parser.add_argument("--hours", type=whole, default=24, help="of one stay (%(default)s)")
    parser.add_argument("--timeouts", type=whole, default=10, help="at most (%(default)s)")
    parser.add_argument("--partition")
    parser.add_argument("--account")
    parser.add_argument("--logs", default="runs/slurm_logs", help="a folder (%(default)s)")
    parser.add_argument("--dry_run", action="store_true", help="print the commands, start nothing")
    flags, arguments = parser.split(argv)
    flags.logs = str(Path(flags.logs).absolute())
    job = Job(**{field: getattr(flags, field) for field in Job._fields})
    command = task(arguments)
    if flags.dry_run:
        print(shown([sbatch(job), command]))
        return 0
    try:
        number = submit(job, command)
    except ImportError:
        parser.error("submitit is not installed: pip install 'nasgen[slurm]'")
    except RuntimeError as error:  # no srun here, or sbatch refuses
        parser.error(" ".join(str(error).split()))
    print(f"job {number}: squeue --job={number}; stop it by scancel {number}; its logs: {job.logs}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
