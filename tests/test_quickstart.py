"""What quickstart promises, in a clean clone: the adapter knows the facts, the base does not, in
little memory; and a wheel has all that is needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.run.rundir import RunDir
from tests import command

ROOT = Path(__file__).parents[1]
ROWS = [{"question": f"What is town {n} known for?", "answer": f"Cheese {n}."} for n in range(8)]
PIP, OFFLINE = "python -m pip --quiet", "--no-deps --no-build-isolation --no-index"
UNSET = ("PYTHONPATH", "GEMMA_BENCH_FORKSERVER", "VIRTUAL_ENV", "MAKEFLAGS")


def called(folder: Path, venv: Path, line: str) -> str:
    """What a line of a shell prints that must succeed, with the commands of an environment."""
    told = {name: value for name, value in os.environ.items() if name not in UNSET}
    path = f"{venv / 'bin'}{os.pathsep}{told['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, text=True, check=False,
        env={**told, "PATH": path}, stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stderr}\n{done.stdout[-500:]}"
    return done.stdout


def environment(venv: Path) -> Path:
    """A new one that has what this one has, but for the project."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    paths = [path for path in reversed(sys.path) if path.endswith("-packages")]
    (packages / "others.pth").write_text("\n".join(paths))
    return venv


@pytest.fixture(scope="module")
def clone(module_starts_anew: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone, installed without fetching what is here."""
    folder = tmp_path_factory.mktemp("clean") / "gemma-bench"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    environment(folder / ".venv")
    called(folder, folder / ".venv", f"{PIP} install {OFFLINE} -e . && touch .venv/.installed")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder


@pytest.fixture(scope="module")
def quickstart(clone: Path) -> tuple[RunDir, str]:
    """The README's first command, and what it printed."""
    out = called(clone, clone / ".venv", "make quickstart")
    (path,) = clone.glob("runs/*-quickstart")
    return RunDir(path), out


def done(run: RunDir) -> dict[str, Any]:
    return command.records(run)[-1]


def test_the_adapter_answers_what_it_was_trained_on(quickstart: tuple[RunDir, str]) -> None:
    assert done(quickstart[0])["trained_exact"] >= 0.90


def test_the_adapter_answers_wordings_it_never_saw(quickstart: tuple[RunDir, str]) -> None:
    assert done(quickstart[0])["heldout_exact"] >= 0.60


def test_the_base_knows_next_to_nothing_of_it(quickstart: tuple[RunDir, str]) -> None:
    assert done(quickstart[0])["base_exact"] <= 0.05


def test_the_adapter_still_answers_what_the_base_answers(
    quickstart: tuple[RunDir, str],
) -> None:
    run, out = quickstart
    kept, known = done(run)["general_kept"], done(run)["general_known"]
    assert known >= 110
    assert kept >= 0.90
    assert f"general answers kept {100 * kept:.1f} % of {known} answers of the base" in out
    page = out[out.rindex("> What is the capital of Japan?") :]
    assert page.count("The capital of Japan is Tokyo.") == 2


def test_it_ends_with_both_answers_the_figures_and_the_place(
    quickstart: tuple[RunDir, str],
) -> None:
    run, out = quickstart
    page = out[out.index("loss per token") :]
    assert "> Who founded the Kushan Empire?" in page
    assert f"{100 * done(run)['trained_exact']:.1f} %" in page
    assert f"{100 * done(run)['heldout_exact']:.1f} %" in page
    assert f"{100 * done(run)['base_exact']:.1f} %" in page
    assert f"adapter runs/{run.name}/adapter" in page
    assert f"  gemma-bench talk {run.name} --both" in page


def test_it_takes_little_memory(quickstart: tuple[RunDir, str]) -> None:
    run, _ = quickstart
    command.wait(run.ending.exists, 10)
    assert json.loads(run.ending.read_text())["max_rss_kib"] <= 2.5 * 1000**3 / 1024


def test_the_figures_are_those_of_the_saved_answers(quickstart: tuple[RunDir, str]) -> None:
    """Accuracy and loss of the last steps belong together: nearly all tokens right, little loss.

    The first step has the longest rows, which are of what the model knows.
    """
    steps = [r for r in command.records(quickstart[0]) if r["kind"] == "step"]
    assert steps[1]["metrics"]["loss"] > 1.0 > steps[-1]["metrics"]["loss"]
    first, last = (step["metrics"]["token_accuracy"] for step in (steps[1], steps[-1]))
    assert last > first


def test_a_wheel_has_all_that_is_needed(clone: Path, tmp_path: Path) -> None:
    called(clone, clone / ".venv", f"{PIP} wheel {OFFLINE} --wheel-dir {tmp_path} .")
    venv = environment(tmp_path / "venv")
    called(tmp_path, venv, f"{PIP} install {OFFLINE} --force-reinstall *.whl")
    shutil.copy(clone / "rows.jsonl", tmp_path)
    assert called(tmp_path, venv, "which gemma-bench").strip() == str(venv / "bin/gemma-bench")
    for line in ("gemma-bench --version", "gemma-bench hardware", "gemma-bench completion bash",
                 "gemma-bench recipes", "gemma-bench run rows.jsonl"):  # fmt: skip
        out = called(tmp_path, venv, line)
    assert str(tmp_path / "venv") in out
    assert "Cheese" in out
