"""The supervisor: small, deaf to hang-ups, and truthful about how its child ended."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.run import lock, supervise
from engine.run.rundir import RunDir
from tests import command

WAIT = "import signal; signal.alarm(60); print('up', flush=True); signal.pause()"
CATCH = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
signal.alarm(60)
print("up", flush=True)
while True:  # a signal could come between a look and signal.pause(), which would miss it
    time.sleep(0.01)
"""
UNTIL_TOLD = """
import pathlib, signal, sys, time
signal.alarm(60)
print("up", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def supervised(run: RunDir, code: str, *arguments: str) -> list[str]:
    """The command of a supervisor whose child is a small Python program."""
    return [
        sys.executable, "-I", "-S", supervise.__file__, str(run.lock), str(run.ending),
        sys.executable, "-I", "-S", "-c", code, *arguments,
    ]  # fmt: skip


def start(run: RunDir, code: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start one, and return once its child is up."""
    process = subprocess.Popen(
        supervised(run, code, *arguments), stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    return process


def finish(process: "subprocess.Popen[bytes]", run: RunDir) -> dict[str, Any]:
    """Wait for it; the ending it wrote."""
    process.communicate(timeout=20)
    ending: dict[str, Any] = json.loads(run.ending.read_bytes())
    return ending


def status(pid: int) -> dict[str, str]:
    """What /proc tells of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.mark.parametrize(
    ("code", "exit_code", "number"),
    [
        ("pass", 0, None),
        ("import sys; sys.exit(3)", 3, None),
        ("raise MemoryError", 1, None),
        ("import os; os.kill(os.getpid(), 9)", None, signal.SIGKILL),
        ("import os; os.kill(os.getpid(), 11)", None, signal.SIGSEGV),
        ("import ctypes; ctypes.string_at(0)", None, signal.SIGSEGV),
        ("import os; os.abort()", None, signal.SIGABRT),
    ],
)
def test_the_ending_is_written_down(
    run: RunDir, code: str, exit_code: int | None, number: int | None
) -> None:
    ended = subprocess.run(supervised(run, code), capture_output=True, timeout=20, check=False)
    ending = json.loads(run.ending.read_bytes())
    assert (ending["exit"], ending["signal"]) == (exit_code, number)
    assert ending["max_rss_kib"] > 1000
    assert time.strptime(ending["ended"], "%Y-%m-%dT%H:%M:%SZ").tm_year >= 2024
    assert ended.returncode == (exit_code or 0)
    assert sorted(path.name for path in run.path.iterdir()) == ["engine.run.lock", "exit.json"]
    assert not run.is_alive()


def test_a_command_that_is_not_there_is_an_ending_too(run: RunDir) -> None:
    line = supervised(run, "")[:6]
    told = subprocess.run([*line, "/nowhere/python"], capture_output=True, timeout=20, check=False)
    assert json.loads(run.ending.read_bytes())["exit"] == 1
    assert b"/nowhere/python" in told.stderr or b"No such file" in told.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_child(number: signal.Signals, run: RunDir) -> None:
    process = start(run, CATCH.replace("SIGTERM", number.name))
    process.send_signal(number)
    assert finish(process, run)["exit"] == 7


@pytest.mark.parametrize("attempt", range(8))
def test_sigterm_is_not_lost_before_the_child_is_up(run: RunDir, attempt: int) -> None:
    process = subprocess.Popen(supervised(run, WAIT), stdout=subprocess.DEVNULL)
    while not lock.is_held(run.lock):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process, run)["signal"] == signal.SIGTERM


def test_no_signal_can_fall_between_a_look_and_a_wait(run: RunDir) -> None:
    """Signals are fetched one by one; one that a handler noted could come too late for a look."""
    process = start(run, WAIT)
    caught = int(status(process.pid)["SigCgt"], 16)
    ignored = int(status(process.pid)["SigIgn"], 16)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD):
        assert not ignored & 1 << number - 1
        assert not caught & 1 << number - 1 or number == signal.SIGCHLD
    assert int(status(child_of(process.pid))["SigBlk"], 16) == 0
    process.send_signal(signal.SIGTERM)
    finish(process, run)


def test_a_hang_up_or_ctrl_c_ends_nothing(run: RunDir, tmp_path: Path) -> None:
    process = start(run, UNTIL_TOLD, str(tmp_path / "enough"))
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
    command.wait(lambda: int(status(process.pid)["ShdPnd"], 16) == 0, 5)
    assert process.poll() is None
    (tmp_path / "enough").touch()
    measured = {"max_rss_kib": 0, "oom_kills": {}, "ended": ""}
    assert finish(process, run) | measured == {
        "exit": 0, "signal": None, **measured,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cgroup", "counter"),
    [
        ("0::/job/7\n", "sys/fs/cgroup/job/7/memory.events"),
        ("0::/\n", "sys/fs/cgroup/memory.events"),
        ("5:cpu:/x\n4:memory:/job\n", "sys/fs/cgroup/memory/job/memory.oom_control"),
    ],
)
def test_the_kernel_s_counts_are_read(cgroup: str, counter: str, tmp_path: Path) -> None:
    """As cgroup v2 and v1 write them; what is not there is left out."""
    assert supervise.oom_kills(str(tmp_path)) == {}
    for name, text in (
        ("proc/self/cgroup", cgroup),
        ("proc/vmstat", "nr_free_pages 1\noom_kill 5\n"),
        (counter, "low 0\noom 9\noom_kill 3\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert supervise.oom_kills(str(tmp_path)) == {"machine": 5, "cgroup": 3}


def test_its_lock_is_held_for_its_life(run: RunDir) -> None:
    process = start(run, WAIT)
    assert lock.is_held(run.lock)
    assert lock.hold(run.lock, lock.SUPERVISOR, patience_s=0) is None
    engine = lock.hold(run.lock, lock.ENGINE, patience_s=0)
    assert engine is not None
    os.close(engine)
    os.kill(child_of(process.pid), signal.SIGKILL)
    assert finish(process, run)["signal"] == signal.SIGKILL
    assert not lock.is_held(run.lock)


def test_a_second_one_goes_without_a_trace(run: RunDir) -> None:
    process = start(run, WAIT)
    second = subprocess.run(supervised(run, "print('up')"), capture_output=True, timeout=20)
    assert (second.returncode, second.stdout) == (supervise.ALREADY_RUNNING, b"")
    assert not run.ending.exists()
    assert process.poll() is None
    os.kill(child_of(process.pid), signal.SIGKILL)
    assert finish(process, run)["signal"] == signal.SIGKILL


def test_the_lock_falls_with_the_supervisor(run: RunDir) -> None:
    process = start(run, WAIT)
    child = child_of(process.pid)
    process.kill()
    process.wait()
    assert not lock.is_held(run.lock)
    assert not run.ending.exists()
    os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="measured in /proc")
def test_it_is_small(run: RunDir) -> None:
    process = start(run, WAIT)
    assert int(status(process.pid)["VmRSS"].split()[0]) < 16 * 1024
    os.kill(child_of(process.pid), signal.SIGKILL)
    finish(process, run)


VIEWER = """
import subprocess, sys, time
log = open(sys.argv[1], "ab")
subprocess.Popen(sys.argv[2:], start_new_session=True, stdin=subprocess.DEVNULL, stdout=log,
                 stderr=log)
print("started", flush=True)
time.sleep(60)
"""


def test_a_terminal_that_goes_takes_nobody_along(run: RunDir, tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    program = UNTIL_TOLD + "\nprint('seen to the end', flush=True)"
    watched = supervised(run, program, str(enough))
    viewer, terminal = pty.fork()
    if viewer == 0:
        os.execv(sys.executable, [sys.executable, "-c", VIEWER, str(run.log), *watched])
    assert os.read(terminal, 100).strip() == b"started"
    command.wait(lambda: b"up" in run.log.read_bytes(), 20)
    os.close(terminal)
    _, status = os.waitpid(viewer, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGHUP
    assert run.is_alive()
    assert not run.ending.exists()
    enough.touch()
    command.wait(run.ending.exists, 20)
    assert json.loads(run.ending.read_bytes())["exit"] == 0
    assert b"seen to the end" in run.log.read_bytes()
