"""Whichever file operation of a save fails, the older checkpoints are whole and the next one works.

As SQLite tests its own disk: the first operation fails, then the second, until none is left.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from odd_disk import NEEDS_GCC, library

ROOT = Path(__file__).parents[1]
pytestmark = NEEDS_GCC


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("library"), "failing_files")


ONCE_AND_FOR_GOOD = [(errno.EIO, False), (errno.ENOSPC, True)]


def told(module: str, preloaded: Path, folder: Path, error: int, sticks: bool) -> dict[str, int]:
    """What a module of the tests says of all the operations that it let fail."""
    arguments = [str(preloaded), str(folder), str(error), str(int(sticks))]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(preloaded), "XDG_DATA_HOME": str(folder / "data")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts


@pytest.mark.parametrize(("error", "sticks"), ONCE_AND_FOR_GOOD)
def test_every_operation_of_a_save_may_fail(
    error: int, sticks: bool, preloaded: Path, tmp_path: Path
) -> None:
    """One that fails once, and a disk that is full from then on."""
    counts = told("tests.failing_saves", preloaded, tmp_path, error, sticks)
    assert counts["operations"] > 40
    assert counts["refused"] > 20
    assert counts["saved"] > 1


@pytest.mark.parametrize(("error", "sticks"), ONCE_AND_FOR_GOOD)
def test_every_operation_of_the_last_save_may_fail(
    error: int, sticks: bool, preloaded: Path, tmp_path: Path
) -> None:
    """What was trained is in the run, or where the failure says."""
    counts = told("tests.failing_last_save", preloaded, tmp_path, error, sticks)
    assert counts["operations"] > 10
    assert counts["elsewhere" if sticks else "saved again"] > 10
    kept = [*(tmp_path / "data/gemma-bench/adapters").glob("run-adapter-step-*")]
    assert len(kept) == counts["elsewhere"]
