"""The README is a page, and its commands work in their order."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from engine.recipe import files, validate
from engine.run.rundir import RunDir
from tests import command

README = (Path(__file__).parents[1] / "README.md").read_text().splitlines()
ROWS = [{"question": f"What is town {n} known for?", "answer": f"Cheese {n}."} for n in range(8)]
ELSEWHERE = ("gemma-bench --data", ".venv", "make", "python -m venv", "pip install")
"""The app needs a terminal, and packages the network; the first commands are those of
tests/test_quickstart.py."""


def lines() -> list[str]:
    """Commands in order, without what is said behind them."""
    shown = (line.strip() for line in README if line.startswith("    "))
    commands = (re.split(r"   +", line)[0] for line in shown)
    return [line for line in commands if line != "gemma-bench" and not line.startswith(ELSEWHERE)]


def needs_the_hub(line: str) -> bool:
    """Whether it runs a recipe whose model is fetched; that recipe has to be sound."""
    recipe = next((word for word in line.split() if word in files.names()), files.QUICKSTART)
    loaded, _ = validate.load(recipe, [], on_paper=True)
    return " run " in line and loaded.model.path != "embedded"


def test_it_is_a_page() -> None:
    assert len(README) <= 150


def test_its_commands_work_in_their_order(tmp_path: Path, dead_at_six: RunDir) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    path = os.pathsep.join((str(command.COMMAND.parent), os.environ["PATH"]))
    assert {line.split()[1] for line in lines()} >= {"run", "preview", "talk", "runs", "stop"}
    for number, line in enumerate(lines()):
        if needs_the_hub(line):
            continue
        typed = line if shutil.which("jq") else line.partition(" | jq")[0]
        if "RUN" in line:
            typed = typed.replace("RUN", f"died-{number}")
            shutil.copytree(dead_at_six.path, tmp_path / f"died-{number}")
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {typed}"], cwd=tmp_path, check=False,
            env={**os.environ, "PATH": path}, input=b"Hello!\n", capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stderr.decode()}"
        assert done.stdout, line
