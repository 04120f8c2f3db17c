"""Runs one pipeline on a TPU pod: asks for one as a queued resource, sets its workers up, runs the
same command on all, and gives the pod back. After a pre-emption it asks anew, and the run resumes.

    python launch/tpu_pod.py NAME --zone=ZONE --accelerator_type=TYPE --runtime_version=VERSION
        [--project=PROJECT] [--spot] [--mount=COMMAND] [--restarts=N] [--keep] [--dry_run]
        -- --config=FILE --workdir=FOLDER [--config.KEY=VALUE ...]
    python launch/tpu_pod.py NAME --zone=ZONE [--project=PROJECT] --delete

The workdir lies on a disk that all workers share and that outlives the pod; `--mount` is a command
that mounts it on a worker. gcloud has to be installed and logged in. The nasgen that runs is the
commit that is checked out here.
"""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launch.commands import FINAL, Parser, run_command, shown, whole

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = "nasgen.tar.gz"
SECONDS = 30.0  # between two looks at the queue
# States of a queued resource that lead to no pod, or to none any more.
GONE = ("FAILED", "SUSPENDING", "SUSPENDED", "DELETING")
UNKNOWN = "UNKNOWN"
_ENDED = "nasgen ended with exit code"  # what a worker's log says last

Run = Callable[[Sequence[str]], tuple[int, str]]


class Pod(NamedTuple):
    """What is asked for; names as gcloud has them. logs: a folder here, for a file of each worker.
    mount: run on every worker after it was set up; "" for nothing."""

    name: str
    zone: str
    project: str | None
    accelerator_type: str
    runtime_version: str
    spot: bool
    mount: str
    logs: str


def create(pod: Pod) -> list[str]:
    """Asks for the pod: joins the queue."""
    wanted = [f"--accelerator-type={pod.accelerator_type}"]
    wanted += [f"--runtime-version={pod.runtime_version}", f"--node-id={pod.name}"]
    return _queue("create", pod, *wanted, *(["--spot"] if pod.spot else []))


def describe(pod: Pod) -> list[str]:
    """Prints the state of the request, as WAITING_FOR_RESOURCES or ACTIVE."""
    return _queue("describe", pod, "--format=value(state.state)")


def delete(pod: Pod) -> list[str]:
    """Gives the pod back, or leaves the queue."""
    return _queue("delete", pod, "--force", "--quiet")


def set_up(pod: Pod) -> list[list[str]]:
    """Brings nasgen and what it needs to every worker, and the shared disk."""
    steps = [
        "rm -rf nasgen && mkdir nasgen",
        f"tar -xzf {ARCHIVE} -C nasgen",
        "python3 -m venv nasgen/.venv",
        "nasgen/.venv/bin/pip install --quiet ./nasgen 'jax[tpu]'",
        *([pod.mount] if pod.mount else []),
    ]
    archive = f"{pod.logs}/{ARCHIVE}"
    copy = ["scp", archive, f"{pod.name}:{ARCHIVE}", "--worker=all"]
    return [
        ["mkdir", "-p", pod.logs],
        ["git", "-C", str(ROOT), "archive", "--format=tar.gz", f"--output={archive}", "HEAD"],
        _vm(pod, *copy),
        _vm(pod, "ssh", pod.name, "--worker=all", f"--command={' && '.join(steps)}"),
    ]


def run(pod: Pod, arguments: Sequence[str]) -> list[str]:
    """The run itself, the same on every worker; returns when all have ended. JAX finds out on each
    which worker it is on."""
    place = {"NASGEN_DISTRIBUTED": "auto", "NASGEN_LAUNCH": f"pod {pod.name} {pod.zone}"}
    command = run_command(arguments, place, python=".venv/bin/python")
    line = f"cd nasgen; {shlex.join(command)} 2>&1; code=$?; echo {_ENDED} $code; exit $code"
    options = ["--worker=all", f"--output-directory={pod.logs}"]
    return _vm(pod, "ssh", pod.name, *options, f"--command={line}")


def stop(pod: Pod) -> list[str]:
    """Ends what an earlier `run` may have left on the workers."""
    line = "pkill -TERM -f '[e]xperiments/run.py' || true"
    return _vm(pod, "ssh", pod.name, "--worker=all", f"--command={line}")


def commands(pod: Pod, arguments: Sequence[str], *, keep: bool) -> list[list[str]]:
    """All of them in the order in which a run that nothing disturbs runs them."""
    last = [] if keep else [delete(pod)]
    return [create(pod), describe(pod), *set_up(pod), run(pod, arguments), *last]


def _queue(verb: str, pod: Pod, *options: str) -> list[str]:
    what = ["gcloud", "compute", "tpus", "queued-resources", verb, pod.name]
    return [*what, *_where(pod), *options]


def _vm(pod: Pod, verb: str, *options: str) -> list[str]:
    return ["gcloud", "compute", "tpus", "tpu-vm", verb, *options, *_where(pod)]


def _where(pod: Pod) -> list[str]:
    return [f"--zone={pod.zone}", *([f"--project={pod.project}"] if pod.project else [])]


def manage(
    pod: Pod,
    arguments: Sequence[str],
    *,
    restarts: int,
    keep: bool,
    call: Run,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Runs to the end, over pre-emptions; returns the exit code of the run, or of the command that
    failed. call: runs a command, returns its exit code and what it printed."""
    state, ready = state_of(pod, call), False
    if state == UNKNOWN:
        return 1
    for left in range(restarts, -1, -1):
        if state in GONE:
            call(delete(pod))
        if state is None or state in GONE:
            code, ready = call(create(pod))[0], False
            if code:
                return code
        while (state := state_of(pod, call)) != "ACTIVE" and state not in (*GONE, None):
            sleep(SECONDS)
        code, ended = 1, None
        if state == "ACTIVE":
            ready = ready or all(call(one)[0] == 0 for one in set_up(pod))
            if ready:
                first_log(pod).unlink(missing_ok=True)
                code = call(run(pod, arguments))[0]
                ended = logged_code(pod)
        code = code if ended is None else ended
        if ended in FINAL or code == 0 or not left:
            break
        print(f"the run ended with exit code {code}; {left} more tries", file=sys.stderr)
        state = state_of(pod, call)
        if state == "ACTIVE":
            call(stop(pod))
    if not keep:
        call(delete(pod))
    return code


def state_of(pod: Pod, call: Run) -> str | None:
    """The state of the request; None where there is none of this name, `UNKNOWN` where gcloud
    cannot say, as without a network."""
    code, said = call(describe(pod))
    if code:
        return None if "NOT_FOUND" in said else UNKNOWN
    words = re.findall(r"^[A-Z_]+$", said, re.MULTILINE)
    return words[-1] if words else UNKNOWN


def first_log(pod: Pod) -> Path:
    """Where gcloud writes what the first worker says."""
    return Path(pod.logs) / "0.log"


def logged_code(pod: Pod) -> int | None:
    """The exit code of the run on the first worker; None where it did not come to say it."""
    try:
        log = first_log(pod).read_text(errors="replace")
    except OSError:
        return None
    found = re.findall(rf"^{_ENDED} (\d+)$", log, re.MULTILINE)
    return int(found[-1]) if found else None


def _call(command: Sequence[str]) -> tuple[int, str]:
    """Runs a command, and shows it and what it says."""
    print(shlex.join(command), file=sys.stderr, flush=True)
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    with subprocess.Popen(command, **pipe) as process:
        said = []
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            said.append(line)
    return process.returncode, "".join(said)


def main(argv: Sequence[str]) -> int:
    """Runs the command line `argv`; returns the exit code."""
    parser = Parser(prog="launch/tpu_pod.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("name", metavar="NAME", help="of the queued resource and its node")
    parser.add_argument("--zone", required=True)
    parser.add_argument("--project", help="by default gcloud's own")
    parser.add_argument("--accelerator_type", help="as v5litepod-16")
    parser.add_argument("--runtime_version", help="as v2-alpha-tpuv5-lite")
    parser.add_argument("--spot", action="store_true", help="cheaper, and may be taken away")
    parser.add_argument("--mount", default="", help="mounts the shared disk; may run twice")
    parser.add_argument("--logs", default="runs/pod_logs", help="a folder here (%(default)s)")
    parser.add_argument("--restarts", type=whole, default=10, help="at most (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="do not delete the pod in the end")
    parser.add_argument("--delete", action="store_true", help="delete the pod, do nothing else")
    parser.add_argument("--dry_run", action="store_true", help="print the commands, start nothing")
    flags, arguments = parser.split(argv, runs="--delete" not in argv)
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,60}[a-z0-9])?", flags.name):
        parser.error(f"NAME must be small letters, digits and hyphens; got {flags.name!r}")
    for needed in ("accelerator_type", "runtime_version"):
        if getattr(flags, needed) is None and not flags.delete:
            parser.error(f"`--{needed}` must be given")
    flags.logs = str(Path(flags.logs).absolute())
    pod = Pod(**{field: getattr(flags, field) for field in Pod._fields})
    made = [delete(pod)] if flags.delete else commands(pod, arguments, keep=flags.keep)
    if flags.dry_run:
        print(shown(made))
        return 0
    options = dict(restarts=flags.restarts, keep=flags.keep, call=_call)
    try:
        return _call(made[0])[0] if flags.delete else manage(pod, arguments, **options)
    except FileNotFoundError as error:
        parser.error(f"{error.filename} must be installed here")
    except KeyboardInterrupt:
        print(f"interrupted: the pod is still there, and costs, until\n{shown([delete(pod)])}")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
