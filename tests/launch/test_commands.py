"""Every launcher prints commands that a shell takes as they were meant, and starts nothing."""

import shlex

import pytest

from launch import commands, local, slurm
from nasgen.pipeline.distributed import Place, place
from tests.launch.printed import ARGUMENTS, LAUNCHERS, dry, inner, run_in


@pytest.mark.parametrize("name", LAUNCHERS)
def test_dry_run_starts_nothing_and_the_run_gets_its_arguments(
    name, capsys, nothing_starts, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = []
    for words in dry(name, capsys):
        if any(commands.RUN in word for word in words):
            on_worker = words[0] == "gcloud"
            words = shlex.split(inner(words)) if on_worker else words
            found.append(words if not on_worker else words[: words.index("2>&1;")])
    assert found and all(run_in(words)[1] == ARGUMENTS for words in found)
    places = [place(run_in(words)[0]) for words in found]
    local_ones = [(one.num, one.index) for one in places if one != Place()]
    assert local_ones == ([(3, 0), (3, 1), (3, 2)] if name == "local" else [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--dry_run"], "--config"),
        (["--dry_run", "--", "--config=x.py"], "--workdir"),
        (["--dryrun", "--", *ARGUMENTS], "--dryrun"),
        (["stray words", "--", *ARGUMENTS], "stray words"),
    ],
)
def test_bad_flags_are_one_line_and_exit_code_2(name, argv, says, capsys, nothing_starts):
    main, own = LAUNCHERS[name]
    with pytest.raises(SystemExit) as stopped:
        main([*own, *argv])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and says in error


@pytest.mark.parametrize("number", ["0", "-1", "2.5", "many", ""])
def test_numbers_are_whole(number, capsys, nothing_starts):
    for main, argv in ((local.main, [number]), (slurm.main, [f"--nodes={number}"])):
        with pytest.raises(SystemExit) as stopped:
            main([*argv, "--dry_run", "--", *ARGUMENTS])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and error.count("\n") == 1
