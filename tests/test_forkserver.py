"""Engines of the tests are forked from a process that has imported torch, and end as others do."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.run.rundir import RunDir
from engine.run.signals import APART_S
from tests import command
from tests.asked import request
from workbench import launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="engines are forked there alone")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.write_request(request())
    return run


def engine(folder: Path, fail: str, **more: str) -> "subprocess.Popen[str]":
    """A training engine as its supervisor starts it."""
    as_launched = launch._environment("cpu") | launch._card("cpu")
    environment = {**as_launched, "GEMMA_BENCH_FAIL": fail, **more}
    command_line = launch._engine(RunDir(folder), launch.Job.TRAIN)
    out, err = subprocess.PIPE, subprocess.STDOUT
    return subprocess.Popen(command_line, text=True, stdout=out, stderr=err, env=environment)


def pid(run: RunDir) -> int:
    """The engine's own, once it has spoken."""
    command.wait(lambda: command.records(run))
    number: int = command.records(run)[0]["pid"]
    return number


def test_it_is_a_fork_with_what_it_was_started_with(run: RunDir) -> None:
    """Arguments, a folder, an environment and a mask; it dies, and so does who stands for it.

    What packages wrote into this process's environment is no matter.
    """
    importlib.import_module("bitsandbytes")
    assert "TORCHINDUCTOR_CACHE_DIR" in os.environ
    with pytest.MonkeyPatch.context() as here:
        here.chdir(run.path)
        process = engine(Path(), "events.append:sleep@2", SAID="here")
    forked = psutil.Process(pid(run))
    assert forked.pid != process.pid
    assert "server.py" in " ".join(forked.cmdline())
    assert Path(forked.cwd()) == run.path.resolve()
    forked.kill()
    assert process.wait(60) == -signal.SIGKILL


def test_who_stands_for_it_takes_it_along(run: RunDir) -> None:
    process = engine(run.path, "events.append:sleep@2")
    forked = psutil.Process(pid(run))
    process.kill()
    command.wait(lambda: not forked.is_running() or forked.status() == psutil.STATUS_ZOMBIE)


def test_what_it_says_and_how_it_ends_are_told(tmp_path: Path) -> None:
    process = engine(tmp_path, "")
    assert process.communicate()[0] == f"{tmp_path}: no run was created here\n"
    assert process.returncode == 2


def test_signals_are_passed_on(run: RunDir) -> None:
    """The second one ends an engine at once, with a code of its own."""
    process = engine(run.path, "events.append:sleep@2")
    assert pid(run) != process.pid
    process.send_signal(signal.SIGTERM)
    time.sleep(APART_S * 1.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM


def test_other_settings_of_what_is_imported_are_not_shared(run: RunDir) -> None:
    process = engine(run.path, "events.append:kill@2", OMP_NUM_THREADS="3")
    assert pid(run) == process.pid
    assert process.wait(60) == -signal.SIGKILL
