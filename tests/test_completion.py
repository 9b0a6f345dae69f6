"""Completion as shells do it: a tab in bash and in zsh, fish asked for what it would offer."""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from terminal import Tmux

from engine.recipe import schema
from engine.run import rundir
from tests import command
from tests.asked import request
from tests.test_command_line import refused
from workbench import completion
from workbench.commands.registry import COMMANDS, module

NOTHING_TO_OFFER = {
    "help", "price", "rows", "source", "system", "temperature", "top_p", "top_k", "max_new_tokens",
    "minutes", "seed",
}  # fmt: skip
RUN = "2026-01-02-0900-towns"
OFFERED = {
    "gemma-bench rec": ["recipes"],
    "gemma-bench run quick": ["quickstart"],
    "gemma-bench --run ./my": ["./my.toml"],
    "gemma-bench train to": ["towns.jsonl"],
    "gemma-bench run quickstart --har": ["--hardware"],
    "gemma-bench run quickstart --hardware rtx-509": ["rtx-5090"],
    "gemma-bench run quickstart --data fold": ["folder/"],
    "gemma-bench run quickstart --set training.learn": ["training.learning_rate="],
    "gemma-bench attach 2026": [RUN],
    "gemma-bench talk --adapter chec": ["checkpoints/step-000002"],
}
"""What is typed, and what the last word may become."""
VALUES = {
    "model.quantization=n": ["none", "nf4"], "data.packing=": ["false", "true"],
    "model.host_tables=": ["auto", "true", "false"], "data.sources=to": ["towns.jsonl"],
    "data.sources.0.format=sha": ["sharegpt"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder with something of each kind, and our command to be found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(command.COMMAND.parent), prepend=os.pathsep)
    (tmp_path / "folder").mkdir()
    for name in ("towns.jsonl", "my.toml", "notes.txt"):
        (tmp_path / name).touch()
    run = rundir.create(b"", request(), Path("runs") / RUN)
    run.checkpoint(2).mkdir(parents=True)
    return tmp_path


def printed(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def last_word(line: str) -> str:
    """Of a completed line; bash completes what stands behind an equals sign."""
    return line.strip().rpartition(" ")[2]


def test_every_option_with_a_value_has_something_to_offer() -> None:
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        module(name).add_arguments(parser)
        open_ended = {action.dest for action in parser._actions if action.nargs != 0}
        assert open_ended - NOTHING_TO_OFFER <= completion._COMPLETERS.keys(), name


def test_every_key_of_a_recipe_is_offered() -> None:
    sources = {f"data.sources.0.{name}" for name in schema.Source.model_fields}
    assert completion._choices().keys() == {*schema.FIELDS, *sources}


def test_bash_is_offered_what_can_stand_there(here: Path) -> None:
    asked = {
        **OFFERED,
        **{f"gemma-bench run quickstart --set {key}": v for key, v in VALUES.items()},
    }
    lines = "\n".join(f"offer {subprocess.list2cmdline([line])}" for line in asked)
    (here / "offer.sh").write_text(
        "source <(gemma-bench completion bash)\n"
        'offer() { COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9; COMPREPLY=()\n'
        '  _python_argcomplete gemma-bench; echo "${COMPREPLY[*]}"; }\n' + lines
    )
    said = printed("bash", "offer.sh").splitlines()
    assert dict(zip(asked, (line.split() for line in said), strict=True)) == asked


def test_a_shell_that_is_none_is_refused(here: Path) -> None:
    code, message = refused(here, "completion", "tcsh")
    assert (code, "Choose one of bash, zsh, fish" in message) == (2, True)


def test_a_tab_in_bash(here: Path) -> None:
    with Tmux(here, ["bash", "--norc", "--noprofile"], 100, 30) as tmux:
        tmux.press('PS1="ready: "; eval "$(gemma-bench completion bash)"', "Enter")
        tmux.until("\nready:")
        tmux.press("gemma-bench run quick", "Tab")
        tmux.until("run quickstart")
        tmux.press(" --set training.learn", "Tab")
        tmux.until("--set training.learning_rate=")
        tmux.press("1e-4 --data to", "Tab")
        tmux.until("training.learning_rate=1e-4 --data towns.jsonl")


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_a_tab_in_zsh(here: Path) -> None:
    with Tmux(here, ["zsh", "-f"], 100, 30) as tmux:
        tmux.press('PS1="ready: "; autoload -Uz compinit; compinit -D', "Enter")
        tmux.press('eval "$(gemma-bench completion zsh)"; clear', "Enter")
        tmux.until("ready:\n\n")
        tmux.press("gemma-bench run quick", "Tab")
        tmux.until("run quickstart")
        tmux.press(" --set training.learn", "Tab")
        tmux.until("--set training.learning_rate=")


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_offers_what_can_stand_there(here: Path) -> None:
    script = here / "gemma-bench.fish"
    script.write_text(printed("gemma-bench", "completion", "fish"))
    asked = [*OFFERED][:5]
    lines = "; ".join(f"echo (complete -C {subprocess.list2cmdline([line])})" for line in asked)
    said = printed("fish", "--no-config", "-c", f"source {script}; {lines}").splitlines()
    offered = [[line.split("\t")[0] for line in group.split(" ")[:1]] for group in said]
    assert offered == [OFFERED[line] for line in asked]
