"""The command as a shell sees it: help, lists, and every bad input told once and left at that."""

import json
import os
import pwd
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from engine.events import Done, Failed, Phase, encode
from engine.hardware import profiles
from engine.run import rundir
from engine.run.rundir import RunDir
from tests import command
from tests.asked import request

ROOT = Path(__file__).parents[1]
RECIPE = '[data]\nsources = [{ path = "rows.jsonl" }]\n'
PREPARE = """
import sys
from pathlib import Path
from workbench import launch
run = launch.propose("sound.toml", [], "cpu", Path(sys.argv[1])).make()
print([*run.read_request().argv])
"""
DONE = Done(steps=2, loss=0.5, token_accuracy=0.9, elapsed_s=2.0, adapter="adapter")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a sound recipe, rows, and all kinds of unsound things."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound.toml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text('{"question": "What?", "answer": "That."}\n')
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "torn.toml").write_text("[data\n")
    (tmp_path / "typo.toml").write_text(RECIPE + "[training]\nlerning_rate = 1e-3\n")
    (tmp_path / "evil.toml").write_text(RECIPE + '"\\u001b]0;pwned\\u0007" = 1\n')
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").touch()
    return tmp_path


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(here: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and message of a command that must make nothing and say one thing, on stderr."""
    before = listing(here)
    code, out, err = command.call(here, *arguments)
    assert out == ""
    assert err.count("gemma-bench: ") == 1
    assert err.startswith("gemma-bench: ")
    assert "Traceback" not in err
    assert listing(here) == before
    return code, err


def model(folder: Path, *tensors: tuple[str, list[int]]) -> Path:
    """A model's folder whose weights are headers without data."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for number, (dtype, shape) in enumerate(tensors):
        entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}
        header = json.dumps({"__metadata__": {"format": "pt"}, f"t{number}": entry}).encode()
        file = folder / f"model-{number}.safetensors"
        file.write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


def recorded(path: Path, *events: Done | Failed | Phase) -> RunDir:
    run = rundir.create(b"", request(), path)
    run.events.write_bytes(b"".join(map(encode, events)))
    return run


def test_help_tells_every_command_option_and_exit_code(here: Path) -> None:
    code, out, err = command.call(here, "--help")
    assert (code, err) == (0, "")
    for word in (
        "--run",
        "attach",
        "runs",
        "stop",
        "exit codes",
        "3 already running",
        "4 doesn't fit",
        "130",
        "143",
    ):
        assert word in out
    code, out, err = command.call(here, "run", "--help")
    assert (code, err) == (0, "")
    for word in ("--hardware", "--set", "--out", "--json", "--detach", "--anyway", "4 doesn't fit"):
        assert word in out


def test_recipes_and_hardware_are_listed(here: Path) -> None:
    code, out, err = command.call(here, "recipes")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert [*lines][:6] == [
        "recipe", "evil.toml", "sound.toml", "torn.toml", "typo.toml", "quickstart",
    ]  # fmt: skip
    assert re.search(r"lora +rtx-3060-8gb +Gemma 3 270M on school", lines["gemma3-270m-lora-sft"])
    assert "qlora" in lines["gemma3-4b-qlora-sft"]
    assert "can't be read" in lines["torn.toml"]
    records = [json.loads(line) for line in command.call(here, "recipes", "--json")[1].splitlines()]
    assert [record["recipe"] for record in records] == [*lines][1:]
    assert [r["path"] for r in records if r["recipe"] == "sound.toml"] == [str(here / "sound.toml")]
    code, out, err = command.call(here, "hardware")
    assert (code, err) == (0, "")
    listed = [line.split()[0] for line in out.partition("\n\n")[0].splitlines()[1:]]
    assert listed == profiles.names()
    assert "auto is this machine: " in out
    records = [
        json.loads(line) for line in command.call(here, "hardware", "--json")[1].splitlines()
    ]
    assert [record["name"] for record in records] == listed
    assert all(0 < record["usable_gib"] < record["memory_gib"] for record in records)


def test_the_version_is_told(here: Path) -> None:
    assert command.call(here, "--version") == (0, f"gemma-bench {version('gemma-bench')}\n", "")


def test_help_loads_neither_screen_nor_schema(here: Path) -> None:
    """Importing those is what would make it slow."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "workbench.cli", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "workbench" in loaded
    assert not loaded & {"textual", "rich", "plotext", "pydantic", "asyncio", "torch"}


def test_no_runs_are_no_error(here: Path) -> None:
    assert command.call(here, "runs") == (
        0, "no run here yet; start one: gemma-bench --run quickstart\n", "",
    )  # fmt: skip
    assert command.call(here, "runs", "--json") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run", "quikstart"], ["quikstart.toml", "no such recipe", "Did you mean quickstart?"]),
        (["--run", ""], ["no such recipe", "gemma-bench recipes lists all"]),
        (["--run", "gone.toml"], ["gone.toml", "no such recipe", "gemma-bench recipes lists all"]),
        (["--run", "folder.toml"], ["folder.toml", "directory", "Give a recipe file"]),
        (["--run", "torn.toml"], ["torn.toml", "not valid TOML", "line 1"]),
        (["--run", "typo.toml"], ["typo.toml", "training.lerning_rate", "unknown key",
                                  "Did you mean training.learning_rate?"]),
        (["--run", "sound.toml", "--set", "model.path=/nowhere/gemma"],
         ["model.path = /nowhere/gemma", "no such folder", "Give a model folder"]),
        (["--run", "sound.toml", "--set", "model.path=google/gemma-3-1b-it"],
         ["model.path", "HF_HUB_OFFLINE", "local folder"]),
        (["--run", "sound.toml", "--set", 'data.sources=[{path="empty.jsonl"}]'],
         ["data.sources.0.path", "empty.jsonl", "the file is empty", "at least one row"]),
        (["--run", "sound.toml", "--set", 'data.sources=[{path="gone.jsonl"}]'],
         ["data.sources.0.path", "gone.jsonl", "no such file"]),
        (["--run", "sound.toml", "--set", "nonsense"], ["--set", "nonsense", "KEY=VALUE"]),
        (["--run", "sound.toml", "--set", "adapter.r=0", "--set", "training.max_steps=0"],
         ["adapter.r = 0", "training.max_steps = 0"]),
        (["--run", "sound.toml", "--hardware", "rtx-9999"],
         ["--hardware", "rtx-9999", "gemma-bench hardware lists all"]),
        (["--run", "sound.toml", "--out", "full"], ["full", "not empty", "--out"]),
        (["--run", "sound.toml", "--out", "rows.jsonl"], ["it is a file, and no folder"]),
        (["--run", "sound.toml", "--out", "rows.jsonl/run"], ["is a file, and no folder"]),
        (["--run", "sound.toml", "--out", "/proc/nowhere/run"], ["/proc/nowhere/run", "no such"]),
        (["--run", "sound.toml", "--out", "new/" + "x" * 300], ["too long"]),
        (["attach"], ["no run here yet", "--run quickstart"]),
        (["attach", "gone"], ["gone", "no such run"]),
        (["stop", "gone"], ["gone", "no such run"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)  # fmt: skip
def test_bad_input_is_told_once(here: Path, arguments: list[str], said: list[str]) -> None:
    code, message = refused(here, *arguments)
    assert code == 2
    for words in said:
        assert words in message


def test_a_message_can_not_steer_the_terminal(here: Path) -> None:
    code, message = refused(here, "--run", "evil.toml")
    assert code == 2
    assert "pwned" in message
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", message)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "adapter.r=4"], "--set is not taken without a command"),
        (["--hardware", "cpu"], "--hardware is not taken"),
        (["--out", "new"], "--out is not taken"),
        (["--json"], "--json is not taken"),
        (["--detach"], "--detach is not taken"),
        (["--run", "quickstart", "attach"], "unrecognized arguments: attach"),
        (["--hardware", "cpu", "runs"], "unrecognized arguments: --hardware cpu"),
        (["--json", "stop", "gone"], "unrecognized arguments: --json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_option_that_would_not_be_heeded_is_bad_input(
    here: Path, arguments: list[str], said: str
) -> None:
    before = listing(here)
    code, out, err = command.call(here, *arguments)
    assert (code, out) == (2, "")
    assert f"error: {said}" in err
    assert listing(here) == before


def test_json_may_stand_before_the_command(here: Path) -> None:
    recorded(Path("runs/2026-01-02-0900-a"), DONE)
    assert command.call(here, "--json", "runs") == command.call(here, "runs", "--json")
    assert json.loads(command.call(here, "--json", "runs")[1])["state"] == "done"


@pytest.mark.parametrize("arguments", [["--fly"], ["quickstart"], ["resume"], ["--run"]])
def test_an_unknown_command_is_bad_input(here: Path, arguments: list[str]) -> None:
    before = listing(here)
    code, out, err = command.call(here, *arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith("usage: gemma-bench")
    assert "Traceback" not in err
    assert listing(here) == before


def test_a_model_that_can_not_fit_is_refused_with_code_4(here: Path) -> None:
    huge = model(here / "huge", ("BF16", [1 << 20, 1 << 20]), ("F32", [4]))
    code, message = refused(here, "--run", "sound.toml", "--set", f"model.path={huge}")
    assert code == 4
    assert "its weights alone take 2048.00 GiB" in message
    assert "smaller model" in message
    code, message = refused(
        here, "--run", "sound.toml", "--set", f"model.path={huge}", "--set", "model.dtype=float32"
    )
    assert (code, "take 4096.00 GiB" in message) == (4, True)


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
        b"", b"\2\0\0\0\0\0\0\0[]", b"\x10\0\0\0\0\0\0\0torn", b"\xff" * 99,
        b'\x0c\0\0\0\0\0\0\0{"t": "u"}  ',
    ],
    ids=["git-lfs", "empty", "list", "torn", "ones", "text"],
)  # fmt: skip
def test_weights_that_are_none_are_refused(here: Path, content: bytes) -> None:
    folder = model(here / "broken")
    (folder / "model.safetensors").write_bytes(content)
    code, message = refused(here, "--run", "sound.toml", "--set", f"model.path={folder}")
    assert code == 2
    assert "model.safetensors is no safetensors file" in message
    assert "git lfs pull" in message


def test_names_in_bytes_that_are_no_text_are_no_error(here: Path) -> None:
    (here / "full").rename(here / "full\udcff")
    code, message = refused(here, "--run", "sound.toml", "--out", "full\udcff")
    assert code == 2
    assert "not empty" in message
    made = subprocess.run(
        [sys.executable, "-c", PREPARE, "b\udcff"], cwd=here, capture_output=True, check=False
    )
    assert made.stderr == b""
    assert rb"b\udcff" in made.stdout


def test_runs_are_listed_with_their_states(here: Path) -> None:
    recorded(Path("runs/2026-01-02-0900-a"), DONE)
    failed = Failed(phase="data", error="bad \x1b[31mrow", hint="", log="engine.log")
    recorded(Path("runs/2026-01-02-0901-b"), failed)
    dead = recorded(Path("runs/2026-01-02-0902-c"), Phase(name="loading", detail=""))
    dead.ending.write_text('{"exit": null, "signal": 9}')
    code, out, err = command.call(here, "runs")
    assert (code, err) == (0, "")
    heading, *lines = (re.split("  +", line) for line in out.splitlines())
    assert heading == ["run", "state", "step", "loss", "owner", "device", "age", "how it ended"]
    assert [line[:2] for line in lines] == [
        ["2026-01-02-0902-c", "died"], ["2026-01-02-0901-b", "failed"],
        ["2026-01-02-0900-a", "done"],
    ]  # fmt: skip
    assert "signal 9" in out
    assert "\x1b" not in out
    code, out, err = command.call(here, "runs", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [record["state"] for record in records] == ["died", "failed", "done"]
    assert records[1]["cause"] == failed.error
    assert records[2].pop("made")
    assert records[2] == {
        "run": "2026-01-02-0900-a", "state": "done", "cause": "",
        "path": str(here / "runs/2026-01-02-0900-a"), "owner": pwd.getpwuid(os.getuid()).pw_name,
        "recipe": "mine", "model": "embedded", "step": None, "total_steps": None, "loss": None,
        "left_s": None, "device": "CPU", "memory_gib": None,
    }  # fmt: skip


def test_a_run_that_ended_can_not_be_stopped(here: Path) -> None:
    run = recorded(Path("runs/2026-01-02-0900-a"), DONE)
    code, message = refused(here, "stop", run.name)
    assert code == 2
    assert "not running but done" in message
    assert not run.control.exists()


@pytest.mark.parametrize("name", ["2026-01-02-0900-a", "runs/2026-01-02-0900-a", None])
def test_attach_shows_how_a_run_ended(here: Path, name: str | None) -> None:
    run = recorded(Path("runs/2026-01-02-0900-a"), DONE)
    arguments = ["attach", *([name] if name else [])]
    code, out, err = command.call(here, *arguments)
    assert (code, err) == (0, "")
    assert "done  2 steps in " in out
    assert str(run.adapter) in out
    code, out, err = command.call(here, *arguments, "--json")
    assert (code, out, err) == (0, encode(DONE).decode(), "")


INTERRUPTED = """
import os, signal, tomllib
right = tomllib.loads
def loads(text):
    os.kill(os.getpid(), signal.SIGINT)
    return right(text)
tomllib.loads = loads
"""
"""Ctrl-C arrives while the recipe is read."""


def test_ctrl_c_before_anything_started_is_no_traceback(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "interrupted").mkdir()
    (here / "interrupted/sitecustomize.py").write_text(INTERRUPTED)
    monkeypatch.setenv("PYTHONPATH", str(here / "interrupted"))
    code, _, err = command.call(here, "--run", "quickstart")
    assert code == 130
    assert err.startswith("gemma-bench: interrupted")
    assert "Traceback" not in err
