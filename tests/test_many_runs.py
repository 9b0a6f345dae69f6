"""Runs of many folders and users: listed as a table, found by a part of a name, stopped at once."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.events import Done, Hello, Step, encode
from engine.problems import Refusal
from engine.run import run_folders, run_summary, rundir, runs
from engine.run.rundir import RunDir
from tests import command
from tests.asked import request
from tests.test_command_line import refused
from tests.test_rundir import Holder
from workbench import cli
from workbench.text import format, text_table

HELLO = Hello(schema=2, job="train", pid=1, host="here", version="0.1.0")
DONE = Done(steps=2, loss=0.5, token_accuracy=0.9, elapsed_s=2.0, adapter="adapter")


def step(number: int, elapsed_s: float) -> Step:
    figures = {"loss": 1.0 / number, "rss_gib": 0.5, "reserved_gib": None}
    return Step(
        step=number, epoch=0.0, tokens=0, supervised_tokens=0, tokens_per_s=0.0,
        elapsed_s=elapsed_s, metrics=dict(figures),
    )  # fmt: skip


def lay_down(path: Path, *events: Hello | Step | Done) -> RunDir:
    run = rundir.create(b"", request(), path)
    run.events.write_bytes(b"".join(map(encode, events)))
    run.write_plan({"plan": {"total_steps": 10}})
    return run


STEPS = (step(1, 90.0), HELLO, step(3, 10.0), step(4, 12.0))
"""Those before the engine began anew say nothing of its pace."""


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RunDir]]:
    """Two runs at work and one that ended, in `runs` of the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lay_down(Path("runs/2026-01-02-0900-towns"), HELLO, DONE)
    alive = [lay_down(Path(f"runs/2026-01-02-090{n}-towns"), *STEPS) for n in (1, 2)]
    with ExitStack() as held:
        for run in alive:
            held.enter_context(Holder(run))
        yield alive


def wishes(runs: list[RunDir]) -> list[int]:
    """How often each was asked to stop."""
    return [run.control.read_text().count('"stop"') if run.control.exists() else 0 for run in runs]


def test_a_table_says_how_each_stands(tmp_path: Path, at_work: list[RunDir]) -> None:
    code, out, err = command.call(tmp_path, "runs")
    assert (code, err) == (0, "")
    heading, newest, _, oldest = (re.split("  +", line) for line in out.splitlines())
    assert heading == ["run", "state", "left", "step", "loss", "owner", "GiB", "device", "age"]
    owner = at_work[0].path.owner()
    assert newest[1:-1] == ["running", "0:12", "4/10", "0.25", owner, "0.5", "CPU"]
    assert newest[-1].split()[1] == "s"
    assert oldest[1:4] == ["done", "-", "-"]
    record = json.loads(command.call(tmp_path, "runs", "--json")[1].splitlines()[0])
    assert (record["left_s"], record["memory_gib"], record["total_steps"]) == (12.0, 0.5, 10)


def test_runs_of_other_folders_are_listed(tmp_path: Path, at_work: list[RunDir]) -> None:
    lay_down(tmp_path / "far/away/project/runs/2026-01-02-0903-far")
    (tmp_path / "far/link").symlink_to(tmp_path / "runs")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code, out, _ = command.call(elsewhere, "runs", "--root", str(tmp_path), "--json")
    names = [json.loads(line)["run"] for line in out.splitlines()]
    assert [name[11:] for name in names] == ["0903-far", "0902-towns", "0901-towns", "0900-towns"]
    code, out, err = command.call(elsewhere, "runs", "--root", "../far")
    assert (code, err, out.split("\n")[1].split()[0]) == (
        0, "", str(Path("../far/away/project/runs/2026-01-02-0903-far")),
    )  # fmt: skip
    assert command.call(elsewhere, "runs", "--everywhere")[1] == "no run there\n"
    run_folders.remember(Path("runs"))
    run_folders.remember(Path("runs"))
    assert run_folders.existing() == [tmp_path / "runs"]
    told = command.call(elsewhere, "runs")[1]
    assert told.endswith("gemma-bench runs --everywhere lists those of 1 other folder\n")
    assert len(command.call(elsewhere, "runs", "--everywhere")[1].splitlines()) == 4
    code, message = refused(elsewhere, "runs", "--root", "gone")
    assert (code, "no such folder" in message) == (2, True)


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch, lambda path: path.symlink_to("runs")])
def test_runs_that_are_no_folder_are_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A link to itself among them, which can't be followed."""
    make(tmp_path / "runs")
    code, message = refused(tmp_path, "runs")
    assert (code, "runs: it is no folder. Move it away" in message) == (2, True)
    assert command.call(tmp_path, "runs", "--root", ".")[0] == 0


def test_folders_that_are_gone_or_no_text_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folders = [tmp_path / f"{n}" for n in range(run_folders._MOST + 1)]
    for folder in folders:
        folder.mkdir()
        run_folders.remember(folder)
        if folder != folders[1]:
            folder.rmdir()
    assert run_folders.existing() == [folders[1]]
    assert len(run_folders._read()) == 2
    run_folders._file().write_bytes(b'\xff\n"a"\n')
    assert run_folders.existing() == []
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    run_folders.remember(tmp_path)
    assert run_folders.existing() == []


def test_a_part_of_a_name_is_enough(at_work: list[RunDir]) -> None:
    assert runs.find("0901").path == at_work[0].path
    assert runs.find("2026-01-02-0902").path == at_work[1].path
    with pytest.raises(Refusal, match=r"means 3 runs: 2026-01-02-0902-towns, .*Give more of"):
        runs.find("towns")
    with pytest.raises(Refusal, match=r"no such run\. Did you mean 2026-01-02-0902-towns"):
        runs.find("2026-01-02-902-towns")
    with pytest.raises(Refusal, match="no such run"):
        runs.find("")


def test_several_are_stopped_at_once(tmp_path: Path, at_work: list[RunDir]) -> None:
    for arguments, said in (
        (["towns"], "it means 2 runs"),
        (["0901", "0900"], "it is not running but done"),
        (["0901", "gone"], "there is no such run"),
        ([], "name the runs, or give --all"),
        (["--all", "0901"], "--all needs no names"),
    ):
        code, message = refused(tmp_path, "stop", *arguments)
        assert (code, said in message) == (2, True), message
    assert wishes(at_work) == [0, 0]
    code, out, err = command.call(tmp_path, "stop", "0901", "2026-01-02-0901", "0902")
    assert (code, err, wishes(at_work)) == (0, "", [1, 1])
    assert out.splitlines()[0] == (
        "2026-01-02-0901-towns was asked to stop and save; "
        "gemma-bench attach 2026-01-02-0901-towns shows it end"
    )
    assert command.call(tmp_path, "stop", "--all")[0] == 0
    assert wishes(at_work) == [2, 2]
    (tmp_path / "empty").mkdir()
    assert command.call(tmp_path / "empty", "stop", "--all") == (0, "no run is at work\n", "")
    code, out, _ = command.call(tmp_path / "empty", "stop", "0901", "--root", "../runs")
    assert (code, wishes(at_work)) == (0, [3, 2])
    assert "gemma-bench attach ../runs/2026-01-02-0901-towns" in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_runs_of_others_are_seen_and_left_alone(
    at_work: list[RunDir], capfd: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        run = lay_down(Path(folder) / "runs/2026-01-02-0900-a", *STEPS)
        with Holder(run):
            for path in (run.path, *run.path.iterdir()):
                path.chmod(0o755)
            assert cli.main(["stop", "0901"]) == 0  # imports what nobody else may read
            for arguments, code in ((["--all"], 0), (["0900"], 2)):
                child = os.fork()
                if not child:
                    os.chdir(folder)
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                    os._exit(cli.main(["stop", *arguments]))
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
        assert not run.control.exists()
    out, err = capfd.readouterr()
    assert "left alone, since they belong to other users: 1 at work" in out
    assert "it belongs to another user. Ask its owner to stop it" in err


def test_a_pace_needs_two_steps(tmp_path: Path) -> None:
    run = lay_down(tmp_path / "run", step(1, 1.0), HELLO, step(2, 3.0))
    assert run_summary.summarize(run).pace_s is None


def test_a_table_fits_its_terminal() -> None:
    rows = [["a", "", "12", "a long cause that can be cut"], ["ㄱㄴ", "", "3", "x\x1b\n"]]
    names = ("run", "empty", "GiB", "how it ended")
    assert text_table.table(names, rows, 80) == [
        "run   GiB  how it ended", "a     12   a long cause that can be cut", "ㄱㄴ  3    x␛",
    ]  # fmt: skip
    assert text_table.table(names, rows, 31)[1] == "a     12   a long cause that c…"
    assert text_table.table(names, rows, 23, ["GiB"])[1] == "a     a long cause tha…"
    assert text_table.table(names, [["", "", "", ""]], 80) == []
    assert text_table.table(names, [], 80) == []


def test_an_age_is_in_its_largest_unit() -> None:
    ages = {-5.0: "0 s", 59.0: "59 s", 60.0: "1 min", 7200.0: "2 h", 1e6: "11 d"}
    assert {seconds: format.age(seconds) for seconds in ages} == ages
