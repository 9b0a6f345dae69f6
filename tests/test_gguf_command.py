"""GGUF files as users give them: on the command line, at a terminal, and in the app."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_app import GOOD, make_app, until
from test_preview_screen import enabled, told

from engine.gemma import terms
from engine.gemma.gguf import checkpoint
from engine.run.rundir import RunDir
from tests.command import COMMAND, SHORT, call, records
from tests.terminal import Pty
from workbench.screens.dialogs import ConfirmScreen
from workbench.screens.setup import SetupScreen

pytest.importorskip("gguf", reason="this environment is older than pyproject.toml")
written_gguf = importlib.import_module("tests.written_gguf")
LOSS = "8.5 bits each (Q8_0 100%), rounded before training"


@pytest.fixture(scope="module")
def ggufs(
    gemma_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A tiny Gemma of either generation."""
    folder = tmp_path_factory.mktemp("gguf")
    return {
        kind: written_gguf.write(gemma_folder(kind), folder / f"{kind}.gguf", "Q8_0")
        for kind in ("gemma3", "embedded")
    }


def test_a_run_begins_with_a_file_and_tells_what_it_lost(
    ggufs: dict[str, Path], tmp_path: Path
) -> None:
    model = ["--set", f"model.path={ggufs['embedded']}"]
    code, out, err = call(tmp_path, "budget", "quickstart", *model)
    assert (code, f"weights: {LOSS}" in out) == (0, True), err
    code, out, err = call(tmp_path, "budget", "quickstart", *model, "--json")
    assert LOSS in json.loads(out)["weights"]
    code, out, err = call(tmp_path, "preview", "quickstart", *model)
    assert (code, f"weights {LOSS}" in out) == (0, True), err
    out_folder = tmp_path / "run"
    code, out, err = call(
        tmp_path, "run", "quickstart", *model, *SHORT, "--set", "training.max_steps=2",
        "--set", "score=none", "--out", str(out_folder),
    )  # fmt: skip
    assert code == 0, err
    told = records(RunDir(out_folder))
    (warning,) = [each for each in told if each.get("code") == "quantised_before"]
    assert LOSS in warning["message"]
    (plan,) = [each for each in told if each["kind"] == "plan"]
    assert LOSS in plan["reasons"]["weights"]
    base = json.loads((out_folder / "adapter/adapter_config.json").read_text())
    assert Path(base["base_model_name_or_path"], checkpoint.WEIGHTS).is_file()
    code, out, err = call(tmp_path, "run", "quickstart", "--set", f"model.path={tmp_path}")
    assert (code, "no config.json in it" in err) == (2, True)


def test_a_run_goes_on_with_the_file_that_it_began_with_alone(
    ggufs: dict[str, Path], gemma_folder: Callable[[str], Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file, run = tmp_path / "model.gguf", RunDir(tmp_path / "run")
    shutil.copy(ggufs["embedded"], file)
    monkeypatch.setenv("GEMMA_BENCH_FAIL", "checkpoint.written:kill@2")
    settings = ["--set", f"model.path={file}", *SHORT, "--set", "score=none"]
    assert call(tmp_path, "run", "quickstart", *settings, "--out", "run")[0] == 1
    monkeypatch.delenv("GEMMA_BENCH_FAIL")
    file.unlink()
    code, out, err = call(tmp_path, "resume", "run")
    assert (code, "there is no such file" in out + err) == (1, True), out + err
    written_gguf.write(gemma_folder("embedded"), file, "F16")
    code, out, err = call(tmp_path, "resume", "run")
    assert code == 1
    told = records(run)[-1]["error"]
    assert "not the run that wrote step-000003 any more: weights of model.path: '" in told
    assert told.count(" bytes with the fingerprint ") == 2
    assert "Undo the change" in out + err
    shutil.copy(ggufs["embedded"], file)
    code, _, err = call(tmp_path, "resume", "run")
    assert (code, err) == (0, ""), "the advice mends it"


def test_a_folder_names_the_file_in_it(ggufs: dict[str, Path], tmp_path: Path) -> None:
    folder = ggufs["embedded"].parent
    code, _, err = call(tmp_path, "preview", "quickstart", "--set", f"model.path={folder}")
    assert (code, f"Give the file: {folder}/" in err) == (2, True), err
    (tmp_path / "torn.gguf").write_bytes(ggufs["embedded"].read_bytes()[:-5000])
    for command in ("budget", "preview", "run"):
        code, out, err = call(tmp_path, command, "quickstart", "--set", "model.path=torn.gguf")
        assert (code, out, err.count("was not fetched whole")) == (2, "", 1), err
    assert not (tmp_path / "runs").exists()


def test_terms_are_shown_and_asked_for_or_named(
    ggufs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    words = ["preview", "quickstart", "--set", f"model.path={ggufs['gemma3']}", "--source", "no"]
    code, out, err = call(tmp_path, *words)
    assert (code, out) == (2, "")
    assert terms.PROBLEM.reason in err
    assert terms.COMMAND in err
    for answer, what_follows in ((b"\n", terms.PROBLEM.reason), (b"y\n", "has no source 'no'")):
        with Pty(tmp_path, [str(COMMAND), *words]) as terminal:
            terminal.until(lambda seen: b"Do you agree to them? [y/N]" in seen)
            assert terms.URL.encode() in terminal.written
            assert terms.POLICY.encode() in terminal.written
            terminal.press(answer)
            assert terminal.end() == 2
            # A terminal breaks lines with a carriage return.
            text = " ".join(terminal.written.decode().split())
            assert what_follows in text
    assert "Agreed to on" in call(tmp_path, "terms")[1]
    code, _, err = call(tmp_path, *words)
    assert "has no source 'no'" in err
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    assert "Not agreed to yet" in call(tmp_path, "terms")[1]
    assert terms.COMMAND in call(tmp_path, "terms")[1]
    assert call(tmp_path, *terms.COMMAND.split()[1:])[0] == 0
    assert "Agreed to on" in call(tmp_path, "terms")[1]


async def test_the_app_takes_one_and_asks_for_its_terms(
    ggufs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "rows.jsonl").write_text('{"messages": []}\n')
    (tmp_path / "own.toml").write_text(GOOD)
    async with make_app(tmp_path, recipes=["own.toml"]).run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "Nothing is wrong" in told(pilot, "#problems"))
        await pilot.press("e", "enter")
        await pilot.press("ctrl+u", *str(ggufs["gemma3"]), "enter", "escape")
        await until(pilot, lambda: "Gemma's terms come first" in told(pilot, "#problems"))
        for key, verdict in (("escape", "Gemma's terms come first"), ("enter", "Nothing is wrong")):
            await pilot.press("s")
            await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
            await pilot.press(key)
            await until(pilot, lambda: isinstance(pilot.app.screen, SetupScreen))
            await until(pilot, lambda verdict=verdict: verdict in told(pilot, "#problems"))
        assert terms.agreed_on()
        assert "start" in enabled(pilot)
        assert "bits each (Q8_0" in " ".join(told(pilot, "#settings").split())
