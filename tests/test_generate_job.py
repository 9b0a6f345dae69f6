"""A playground's engine on a real run: answers as in its samples, stops, ends with its viewer."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import APP, Tmux

from engine.events import Answered, Failed, Opened, Phase, Piece, Warned
from engine.jobs.playground_job import _opened
from engine.model.answers.token_stream import TokenStream
from engine.problems import Refusal
from engine.run import adapters
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions import session_dir
from engine.sessions.playground import SIDES, End, Message, Opening, Prompt, Settings, Side, Stop
from tests import command
from workbench.run_view import use_it
from workbench.sessions import engine_session
from workbench.sessions.engine_session import Playground

STEPS = [
    "training.max_steps=40", "training.save_steps=20", "samples.max_new_tokens=16",
    "training.learning_rate=1e-2",
]  # fmt: skip
LONG = Settings(temperature=4.0, top_p=1.0, top_k=0, max_new_tokens=100_000)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of forty steps with two checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    overrides = [part for step in STEPS for part in ("--set", step)]
    short = [*command.SHORT, *overrides]
    code, _, err = command.call(folder, "--run", "quickstart", "--out", "run", *short)
    assert code == 0, err
    return RunDir(folder / "run")


class Viewer:
    """What a screen does, with the events kept."""

    def __init__(self, played: Playground) -> None:
        self.played = played
        self.told: list[Any] = []

    def until(self, is_so: Callable[[], Any]) -> None:
        """Read events until something is so."""

        def is_now() -> bool:
            death = self.played.death
            self.told += self.played.new_events()
            assert is_so() or not death, f"{death}: {self.played.log_tail()}"
            return bool(is_so())

        command.wait(is_now)

    def of(self, kind: type[Any], number: int, side: str) -> list[Any]:
        """Events of one answer."""
        mine = (event for event in self.told if isinstance(event, kind))
        return [event for event in mine if (event.id, event.side) == (number, side)]

    def ask(self, number: int, prompt: str, settings: Settings) -> dict[str, str]:
        """Both answers to a prompt."""
        messages: tuple[Message, ...] = (("user", prompt),)
        for side in SIDES:
            self.played.send(Prompt(number, side, messages, settings))
        self.until(lambda: all(self.of(Answered, number, side) for side in SIDES))
        pieces = {side: self.of(Piece, number, side) for side in SIDES}
        return {side: "".join(piece.text for piece in pieces[side]) for side in SIDES}


@pytest.fixture(scope="module")
def viewer(trained: RunDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """One engine for all tests that leave it whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
        played = engine_session.start_playground(trained)
    seen = Viewer(played)
    seen.until(lambda: any(isinstance(event, Opened) for event in seen.told))
    yield seen
    played.close()
    assert not played._files.path.exists()


def samples(run: RunDir, step: int) -> list[dict[str, Any]]:
    return [r for r in command.records(run) if r["kind"] == "sample" and r["step"] == step]


def test_it_says_what_is_loaded(viewer: Viewer, trained: RunDir) -> None:
    phases = [event.name for event in viewer.told if isinstance(event, Phase)]
    assert phases == ["reading", "loading"]
    (opened,) = (event for event in viewer.told if isinstance(event, Opened))
    assert (opened.run, opened.adapter, opened.step) == (str(trained.path), "adapter", 40)
    assert (opened.model, opened.device, opened.dtype) == ("embedded", "cpu", "float32")


def test_the_answers_are_those_of_the_runs_last_samples(viewer: Viewer, trained: RunDir) -> None:
    recorded = samples(trained, 40)
    assert len(recorded) == 2
    for number, sample in enumerate(recorded, 100):
        told = viewer.ask(number, sample["prompt"], Settings(max_new_tokens=16))
        assert told["base"].strip() == sample["base"]
        assert told["adapter"].strip() == sample["adapter"]
    assert any(sample["base"] != sample["adapter"] for sample in recorded)


def test_both_sides_come_in_pieces_and_in_turns(viewer: Viewer) -> None:
    viewer.ask(200, "Who founded the Kushan Empire?", Settings(max_new_tokens=8))
    pieces = [event for event in viewer.told if isinstance(event, Piece) and event.id == 200]
    assert [piece.side for piece in pieces[:6]] == [*SIDES] * 3
    for side in SIDES:
        tokens = [piece.tokens for piece in pieces if piece.side == side]
        assert tokens == sorted(tokens)
        (end,) = viewer.of(Answered, 200, side)
        assert end.prompt_tokens > 8
        assert end.tokens >= tokens[-1] > 3
        assert end.seconds >= pieces[-2].seconds > 0


def test_a_long_answer_is_stopped_and_the_next_one_is_made(viewer: Viewer) -> None:
    for side in SIDES:
        viewer.played.send(Prompt(300, side, (("user", "Tell me everything."),), LONG))
    viewer.until(lambda: all(len(viewer.of(Piece, 300, side)) > 3 for side in SIDES))
    viewer.played.send(Stop())
    viewer.until(lambda: all(viewer.of(Answered, 300, side) for side in SIDES))
    assert {viewer.of(Answered, 300, side)[0].reason for side in SIDES} == {"stopped"}
    told = viewer.ask(301, "What is the capital of Japan?", Settings(max_new_tokens=16))
    assert told["base"]
    assert viewer.of(Answered, 301, "base")[0].reason == "stop"


def test_it_ends_when_it_is_asked_to(trained: RunDir, tmp_path: Path) -> None:
    played = started(trained, tmp_path)
    played.send(End())
    command.wait(lambda: played.death)
    assert played.death == "ended with exit code 0"
    played.close()


def started(run: RunDir, folder: Path, adapter: str = "") -> Playground:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        return engine_session.start_playground(run, adapter)


def test_it_ends_with_its_viewer_in_the_middle_of_an_answer(
    trained: RunDir, tmp_path: Path
) -> None:
    seen = Viewer(started(trained, tmp_path, "checkpoints/step-000020"))
    seen.played.send(Prompt(1, Side.ADAPTER, (("user", "Tell me everything."),), LONG))
    seen.until(lambda: seen.of(Piece, 1, "adapter"))
    (opened,) = (event for event in seen.told if isinstance(event, Opened))
    assert (opened.adapter, opened.step) == ("checkpoints/step-000020", 20)
    os.close(seen.played._lock)
    command.wait(lambda: seen.played.death)
    command.wait(lambda: not seen.played._files.path.exists())


def test_a_run_without_a_checkpoint_is_told(trained: RunDir, tmp_path: Path) -> None:
    empty = tmp_path / "run"
    empty.mkdir()
    shutil.copy(trained.request, empty)
    assert adapters.newest(RunDir(empty)) is None
    seen = Viewer(started(RunDir(empty), tmp_path))
    seen.until(lambda: any(isinstance(event, Failed) for event in seen.told))
    (failed,) = (event for event in seen.told if isinstance(event, Failed))
    assert str(empty) in failed.error
    assert "checkpoints: it has none yet" in failed.error
    assert "save now" in failed.hint
    command.wait(lambda: seen.played.death)
    assert seen.played.death == "ended with exit code 2"
    assert "it has none yet" in "\n".join(seen.played.log_tail())
    seen.played.close()


def test_a_run_at_work_is_played_with_and_goes_on(tmp_path: Path) -> None:
    viewer = command.start(tmp_path, "--run", "quickstart", "--out", "run", *command.LONG)
    run = RunDir(tmp_path / "run")
    command.wait(lambda: command.kinds(run).count("step") > 3)
    run.ask("save", "test")
    command.wait(lambda: "checkpoint" in command.kinds(run))
    adapted = _opened(Opening(str(run.path)), EventLog(RunDir(tmp_path)))
    (checkpoint,) = (r for r in command.records(run) if r["kind"] == "checkpoint")
    last = command.records(RunDir(tmp_path))[-1]
    assert (last["adapter"], last["step"]) == (checkpoint["path"], checkpoint["step"])
    for side in SIDES:
        speech = TokenStream(
            Prompt(1, side, (("user", "Hello!"),), Settings(max_new_tokens=4)), adapted
        )
        while not speech.reason:
            speech.step()
    steps = command.kinds(run).count("step")
    command.wait(lambda: command.kinds(run).count("step") > steps)
    run.ask("stop", "test")
    assert command.finish(viewer)[0] == 143
    assert run.state().name == "stopped"


@pytest.fixture
def copied(trained: RunDir, tmp_path: Path) -> RunDir:
    shutil.copytree(trained.path, tmp_path / "run")
    return RunDir(tmp_path / "run")


def refused(run: RunDir, folder: Path, adapter: str = "") -> str:
    """Why it can't be opened."""
    log = EventLog(RunDir(folder))
    with pytest.raises(Refusal) as caught:
        _opened(Opening(str(run.path), adapter), log)
    (problem,) = caught.value.problems
    assert problem.fix
    return f"{caught.value.where} {problem}"


def change(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def test_adapters_that_can_not_be_used(copied: RunDir, tmp_path: Path) -> None:
    weights, config = (copied.adapter / n for n in (adapters.WEIGHTS, adapters.CONFIG))
    whole, told = weights.read_bytes(), config.read_text()

    weights.write_bytes(whole[: len(whole) // 2])
    assert "it is not whole" in refused(copied, tmp_path)
    weights.unlink()
    assert f"{weights} is missing" in refused(copied, tmp_path)
    weights.write_bytes(whole)

    config.write_text(told[:100])
    assert "it is not whole" in refused(copied, tmp_path)
    config.write_text(told)
    change(config, base_model_name_or_path="google/gemma-3-1b-it")
    assert "another base, google/gemma-3-1b-it" in refused(copied, tmp_path)
    config.write_text(told)
    change(config, r=8)
    assert "another base" in refused(copied, tmp_path)
    config.write_text(told)
    change(config, target_modules="no_such_module")
    assert "another base" in refused(copied, tmp_path)
    config.write_text(told)

    assert "Open one of checkpoints/step-" in refused(copied, tmp_path, "checkpoints/step-000007")
    copied.request.write_text("{")
    assert "request.json: it is damaged and can't be read" in refused(copied, tmp_path)


def test_the_newest_adapter(copied: RunDir) -> None:
    assert [(one.name, one.step) for one in adapters.every(copied)] == [
        ("checkpoints/step-000020", 20), ("checkpoints/step-000040", 40), ("adapter", 40),
    ]  # fmt: skip
    shutil.rmtree(copied.adapter)
    (copied.checkpoints / ".partial").mkdir()
    newest = adapters.newest(copied)
    assert newest is not None
    assert (newest.name, newest.step) == ("checkpoints/step-000040", 40)


def test_what_an_engine_leaves_is_no_run(viewer: Viewer) -> None:
    assert viewer.played._files.path.name.startswith(session_dir._PREFIX)


def test_a_user_talks_with_a_finished_run(
    trained: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    shutil.copytree(trained.path, tmp_path / "runs/trained")
    (sample, *_) = samples(trained, 40)
    with Tmux(tmp_path, APP, 110, 36) as tmux:
        tmux.until("Nothing is wrong")
        tmux.press("r")
        tmux.until("1 run, 0 at work")
        tmux.press("t")
        tmux.until("adapter of step 40", 60)
        tmux.press(sample["prompt"], "Enter")
        command.wait(lambda: tmux.screen().count(" tokens, ") == 2)
        screen = tmux.until("ready")
        assert sample["base"] in screen
        assert sample["adapter"] in screen
        found = tmp_path.glob("gemma-bench-preview-*/events.jsonl")
        (told,) = (path for path in found if b"opened" in path.read_bytes())
        pid = json.loads(told.read_text().splitlines()[0])["pid"]
        assert Path(f"/proc/{pid}").exists()
        tmux.press("Escape")
        tmux.until("1 run, 0 at work")
        command.wait(lambda: not Path(f"/proc/{pid}").exists())
        assert not told.exists()


def talk(run: RunDir, said: str, *arguments: str) -> tuple[int, str, str]:
    """What the command says to lines on its stdin."""
    done = subprocess.run(
        [command.COMMAND, "talk", str(run.path), *arguments],
        input=said.encode(), capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_lines_of_a_pipe_are_answered(trained: RunDir) -> None:
    first, second = samples(trained, 40)
    prompts = f"{first['prompt']}\n\n{second['prompt']}"
    length = ("--max-new-tokens", "16")
    assert talk(trained, prompts, *length) == (
        0, f"{first['adapter']}\n{second['adapter']}\n", "",
    )  # fmt: skip
    code, out, err = talk(trained, prompts, *length, "--both", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [(one["prompt"], one["base"], one["adapter"]) for one in told] == [
        (one["prompt"], one["base"], one["adapter"]) for one in (first, second)
    ]
    assert told[0]["tokens"].keys() == told[0]["reasons"].keys() == {"base", "adapter"}


def test_no_prompt_is_told(trained: RunDir) -> None:
    """As cron starts it, with `</dev/null`, and by a parent that closed stdin."""
    line = ["bash", "-c", '"$@" <&-', "bash", command.COMMAND, "talk", str(trained.path)]
    closed = subprocess.run(line, capture_output=True, text=True, check=False)
    for code, out, err in (
        talk(trained, ""), talk(trained, "\n \n"), (closed.returncode, closed.stdout, closed.stderr)
    ):  # fmt: skip
        assert (code, out, err.count("gemma-bench: ")) == (2, "", 1)
        assert "stdin has no prompt. Write one a line: echo 'Hello!' | gemma-bench talk" in err


def test_what_can_not_be_talked_with_is_refused(trained: RunDir, tmp_path: Path) -> None:
    bare = RunDir(tmp_path / "bare")
    bare.path.mkdir()
    shutil.copy(trained.request, bare.path)
    for run, arguments, said in (
        (RunDir(tmp_path / "gone"), [], "there is no such run"),
        (bare, [], "checkpoints: it has none yet"),
        (trained, ["--adapter", "checkpoints/step-000007"], "Open one of checkpoints/step-000020"),
        (trained, ["--top-k", "1.5"], "--top-k = 1.5: top_k is a whole number from 0"),
    ):
        code, out, err = talk(run, "Hello!", *arguments)
        assert (code, out, err.count("gemma-bench: ")) == (2, "", 1)
        assert said in err


def test_an_engine_that_fails_is_told(copied: RunDir) -> None:
    (copied.adapter / adapters.CONFIG).write_text("{")
    code, out, err = talk(copied, "Hello!")
    assert (code, out) == (1, "")
    assert err.startswith("gemma-bench: while reading: ")
    assert "it is not whole" in err


def test_a_prompt_line_goes_on_and_is_stopped(trained: RunDir, tmp_path: Path) -> None:
    shutil.copytree(trained.path, tmp_path / "runs/trained")
    hot = ["--max-new-tokens", "9999", "--temperature", "4", "--top-p", "1", "--top-k", "0"]
    with Tmux(tmp_path, [*APP, "talk", "--both", *hot], 90, 60) as tmux:
        tmux.until("forgets what was said\n>")
        tmux.press("Tell me everything.", "Enter")
        tmux.until("base: ")
        tmux.press("C-c")
        screen = tmux.until("[stopped]\n>")
        assert screen.count("[stopped]") == 2
        assert screen.index("base: ") < screen.index("adapter: ")
        tmux.press("/new", "Enter", "C-c")
        tmux.until("left with 0")


def test_the_end_of_a_run_says_how_to_use_it(trained: RunDir, tmp_path: Path) -> None:
    (sample, *_) = samples(trained, 40)
    use = use_it.use_it(trained)
    code, out, _ = command.call(trained.path.parent, "attach", "run")
    assert (code, out.splitlines()[-len(use) :]) == (
        0,
        [
            line.replace(str(trained.path), "run", 1) if "gemma-bench" in line else line
            for line in use
        ],
    )
    program = use_it.program(trained)
    assert program.splitlines() == [line.strip() for line in use[3:8]]
    program = program.replace("Hello!", sample["prompt"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert sample["adapter"] in done.stdout
    # The last line gives a model by itself, which says the same.
    assert use[-1].split()[:2] == ["gemma-bench", "export"]
    merged = str(tmp_path / "merged")
    code, _, err = command.call(tmp_path, *shlex.split(use[-1])[1:], "--out", merged)
    assert code == 0, err
    again = (
        "from transformers import pipeline\nchat = pipeline('text-generation', 'merged')\n"
        + program.splitlines()[-1]
    )
    line = [sys.executable, "-c", again]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sample["adapter"] in done.stdout
    assert not (tmp_path / "merged" / adapters.CONFIG).exists()
    assert use_it.use_it(RunDir(tmp_path)) == []
    assert use_it.program(RunDir(tmp_path)) == ""
    differs = Warned(code="template_differs", message="", fix="")
    assert "otherwise than the one trained on" in use_it.use_it(trained, [differs])[2]
