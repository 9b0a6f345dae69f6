"""The commands: each with its own help and options, and what only looks like one."""

import argparse
import io
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from engine.problems import ExitCode
from engine.run.job import Job
from tests import command
from workbench import cli
from workbench.commands import unknown_word
from workbench.commands.registry import COMMANDS, module
from workbench.commands.status_line import StatusLine

ROOT = Path(__file__).parents[1]


def parsed(*arguments: str) -> tuple[str, dict[str, object]]:
    """Name of the command that a line calls, and its options."""
    called, rest = cli._command([*arguments])
    assert called
    return called, vars(cli._parsed(called, rest))


@pytest.mark.parametrize("listed", COMMANDS)
def test_each_has_its_own_help(listed: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    module(listed).add_arguments(parser)
    own = {flag for action in parser._actions for flag in action.option_strings}
    with pytest.raises(SystemExit) as ended:
        cli.main([listed, "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert out.startswith(f"usage: gemma-bench {listed} ")
    assert COMMANDS[listed][1:] in out
    assert "exit codes: 0 done" in out
    assert {flag for flag in own if flag not in out} == set()


def test_every_example_is_a_line_that_is_taken() -> None:
    for name in COMMANDS:
        examples = module(name).EXAMPLES.splitlines()
        assert examples
        for example in examples:
            words = re.search(r'gemma-bench[^|<>")]*', example)
            assert words
            line = re.split("   +", words[0])[0]
            called, _ = parsed(*shlex.split(line)[1:])
            assert called == name, example


@pytest.mark.parametrize("listed", COMMANDS)
def test_an_unknown_option_is_bad_input(listed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([listed, "some", "--fly"])
    assert ended.value.code == ExitCode.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"usage: gemma-bench {listed} ")
    assert "--fly" in err


@pytest.mark.parametrize(
    ("alias", "plain"),
    [
        (["--run", "mine"], ["mine"]),
        (["--run=mine"], ["mine"]),
        (["--run=a=b.toml", "--json"], ["a=b.toml", "--json"]),
        (["--set", "adapter.r=4", "--run", "mine", "--detach"],
         ["mine", "--set", "adapter.r=4", "--detach"]),
        (["--out", "runs", "--json", "--run", "stop"], ["stop", "--json", "--out", "runs"]),
        (["--run", "", "--hardware", "cpu", "--anyway"], ["", "--anyway", "--hardware", "cpu"]),
    ],
    ids=lambda arguments: " ".join(arguments),
)  # fmt: skip
def test_run_is_a_command_and_an_option(alias: list[str], plain: list[str]) -> None:
    assert parsed(*alias) == parsed("run", *plain)
    assert parsed(*alias)[0] == "run"


def test_without_a_command_it_is_the_app() -> None:
    assert cli._command([]) == ("", [])
    assert vars(cli._parsed("", [])) == {"run": None, "version": None, "data": []}


def test_help_lists_every_command(tmp_path: Path) -> None:
    code, out, _ = command.call(tmp_path, "--help")
    assert code == 0
    listed = " ".join(out.split())
    assert [name for name, help in COMMANDS.items() if f"{name} {help}" not in listed] == []


def test_a_word_that_is_no_command_names_a_line_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my own.toml", "rows.jsonl"):
        Path(name).touch()
    named = {
        "quickstart": "run quickstart", "my own.toml": "run 'my own.toml'",
        "rows.jsonl": "run rows.jsonl", "gemma3-270": "run gemma3-270m-lora-sft",
        "trian": "train", "Prewiev": "preview", "ls": "runs", "help": "--help",
        "qwertz": "", "": "",
    }  # fmt: skip
    assert {word: unknown_word.meant(word) for word in named} == {
        word: f"gemma-bench {line}" if line else "" for word, line in named.items()
    }
    options = {"--help", "--version"}
    assert {*unknown_word.WORDS.values()} - options <= {*COMMANDS}


def test_train_is_run() -> None:
    assert parsed("train", "mine", "--detach") == parsed("run", "mine", "--detach")


def test_every_module_of_a_command_is_listed() -> None:
    files = (ROOT / "workbench/commands").glob("*_command.py")
    assert sorted(path.stem for path in files) == sorted(f"{name}_command" for name in COMMANDS)


def test_every_module_of_a_job_is_listed() -> None:
    files = (ROOT / "engine/jobs").glob("*_job.py")
    assert sorted(path.stem for path in files) == sorted(job.module for job in Job)
    assert all(job.summary for job in Job)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_status_line_is_drawn_over_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((10, 24)))
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        status = StatusLine(stream)
        status.keep()
        status.show("data: a\x1b[2Jlong name")
        status.show("data: a\x1b[2Jlong name")
        status.show("two\nlines")
        status.show("")
        status.keep()
        status.show("kept")
        status.keep()
    assert pipe.getvalue() == ""
    assert terminal.getvalue().split("\r\x1b[2K") == ["", "data: a␛[", "two lines", "", "kept\n"]
