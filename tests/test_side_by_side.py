"""Checks of the doctor in two processes: their order, and what happens where one of these ends."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from psutil import Process

from engine.doctor import side_by_side
from engine.doctor.check import Check, Measurement, check
from engine.doctor.specimens import Specimens

HERE = os.getpid()


@check("where", limit=0, advice="")
def where(specimens: Specimens) -> Measurement:
    """The process, at its leisure; files of the two lie apart."""
    folder = specimens.folder / "made"
    folder.mkdir(exist_ok=True)
    time.sleep(0.02)
    return Measurement(os.getpid(), str(folder))


@check("killed", limit=0, advice="")
def killed(specimens: Specimens) -> Measurement:
    """Ends any other process than this one."""
    if os.getpid() != HERE:
        os.kill(os.getpid(), signal.SIGKILL)
    return Measurement(HERE)


def measured(checks: list[Check], folder: Path) -> list[Measurement]:
    specimens = Specimens(folder, has_own_head=True)
    with closing(side_by_side.measurements(checks, specimens, lambda: None)) as measurements:
        return list(measurements)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


def test_two_processes_take_the_checks_between_them(tmp_path: Path, two_cores: None) -> None:
    folders = {figure: folder for figure, folder, _ in measured([where] * 20, tmp_path)}
    assert HERE in folders
    assert len(folders) == len(set(folders.values())) == 2


def test_what_a_dead_process_leaves_is_done_by_the_other(tmp_path: Path, two_cores: None) -> None:
    figures = [each.figure for each in measured([killed, where] * 8, tmp_path)]
    assert figures[::2] == [HERE] * 8
    assert len(figures) == 16


def test_one_core_works_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert {each.figure for each in measured([where] * 4, tmp_path)} == {HERE}


def test_who_is_stopped_between_checks_takes_the_other_along(
    tmp_path: Path, two_cores: None
) -> None:
    calls, children = [1, 2, 3], set(Process().children())
    specimens = Specimens(tmp_path, has_own_head=True)
    with (
        pytest.raises(IndexError),
        closing(side_by_side.measurements([where] * 20, specimens, calls.pop)) as each,
    ):
        list(each)
    assert set(Process().children()) <= children
