"""Whichever file operation of a save fails, the older checkpoints are whole and the next one works.

As SQLite tests its own disk: the first operation fails, then the second, until none is left.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc on Linux"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("library") / "failing.so"
    source = Path(__file__).with_name("failing_files.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", source, "-o", made, "-ldl"], check=True)
    return made


@pytest.mark.parametrize(("error", "sticks"), [(errno.EIO, False), (errno.ENOSPC, True)])
def test_every_operation_of_a_save_may_fail(
    error: int, sticks: bool, library: Path, tmp_path: Path
) -> None:
    """One that fails once, and a disk that is full from then on."""
    given = [str(library), str(tmp_path), str(error), str(int(sticks))]
    done = subprocess.run(
        [sys.executable, "-m", "tests.failing_saves", *given], cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["operations"] > 40
    assert told["refused"] > 20
    assert told["saved"] > 1
