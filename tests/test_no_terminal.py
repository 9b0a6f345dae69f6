"""Where there is no terminal the app says so at once, and what can be told in lines is."""

import shlex
from pathlib import Path

import pytest
from recording import lay_down, load
from terminal import APP, Pty

from tests import command

NAME = "2026-11-21-0930-ended"


def test_without_a_terminal_the_app_is_refused(tmp_path: Path) -> None:
    """As cron, nohup and `ssh HOST gemma-bench` start it."""
    code, out, err = command.call(tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("gemma-bench: the app needs a terminal: stdin is no terminal")
    for way in ("ssh -t HOST gemma-bench", "gemma-bench run RECIPE"):
        assert way in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("</dev/null", b"stdin is no terminal"),
        ("<&-", b"stdin is no terminal"),
        ("| cat", b"stdout is no terminal"),
        ("2>&1 | cat", b"stdout is no terminal"),
        (">told", b"stdout is no terminal"),
    ],
)
def test_one_stream_elsewhere_is_named(ending: str, said: bytes, tmp_path: Path) -> None:
    shell = ["bash", "-o", "pipefail", "-c", f"{shlex.join(APP)} {ending}"]
    with Pty(tmp_path, shell) as terminal:
        assert terminal.end() == 2
        terminal.read(0.2)
    assert said in terminal.written
    assert b"\x1b" not in terminal.written


def test_errors_elsewhere_are_told_there(tmp_path: Path) -> None:
    with Pty(tmp_path, ["sh", "-c", f"exec {shlex.join(APP)} 2>told"]) as terminal:
        assert terminal.end() == 2
    assert "stderr is no terminal" in (tmp_path / "told").read_text()


@pytest.mark.parametrize("name", ["dumb", "unknown", ""])
def test_a_terminal_without_a_cursor_gets_words_alone(name: str, tmp_path: Path) -> None:
    with Pty(tmp_path, APP, TERM=name) as terminal:
        assert terminal.end() == 2
        terminal.read(0.2)
    assert f"TERM={name!r}".encode() in terminal.written
    lay_down(tmp_path / "runs", NAME, load("healthy"))
    with Pty(tmp_path, [*APP, "attach"], TERM=name) as terminal:
        assert terminal.end() == 0
        terminal.read(0.2)
    assert b"240/240" in terminal.written
    assert b"\x1b" not in terminal.written


def test_attach_in_a_job_follows_in_lines(tmp_path: Path) -> None:
    """Its output is a terminal, but nobody can press a key."""
    lay_down(tmp_path / "runs", NAME, load("healthy"))
    with Pty(tmp_path, ["sh", "-c", f"exec {shlex.join(APP)} attach </dev/null"]) as terminal:
        assert terminal.end() == 0
        terminal.read(0.2)
    assert b"trained facts 96.0 %" in terminal.written
    assert b"\x1b[?1049h" not in terminal.written
