"""Whichever file operation of a save fails, the older checkpoints are whole and the next one works.

As SQLite tests its own disk: the first operation fails, then the second, until none is left.
"""

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
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, int]]:
    """How often what came of a save, by what was saved and how operations failed."""
    folder = tmp_path_factory.mktemp("saves")
    preloaded = library(folder, "failing_files")
    done = subprocess.run(
        [sys.executable, "-m", "tests.failing_saves", str(preloaded), str(folder)], cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(preloaded), "XDG_DATA_HOME": str(folder / "data")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    kept = [*(folder / "data/gemma-bench/adapters").glob("*adapter-step-*")]
    assert len(kept) == sum(line["counts"].get("elsewhere", 0) for line in lines)
    return {(line["save"], line["way"]): line["counts"] for line in lines}


@pytest.mark.parametrize("way", ["once", "for good"])
def test_every_operation_of_a_save_may_fail(
    way: str, told: dict[tuple[str, str], dict[str, int]]
) -> None:
    """One that fails once, and a disk that is full from then on."""
    counts = told["save_checkpoints", way]
    assert counts["operations"] > 40
    assert counts["refused"] > 20
    assert counts["saved"] > 1


@pytest.mark.parametrize(
    ("way", "what_comes"), [("once", "saved again"), ("for good", "elsewhere")]
)
def test_every_operation_of_the_last_save_may_fail(
    way: str, what_comes: str, told: dict[tuple[str, str], dict[str, int]]
) -> None:
    """What was trained is in the run, or where the failure says."""
    counts = told["save_at_the_end", way]
    assert counts["operations"] > 10
    assert counts[what_comes] > 10
