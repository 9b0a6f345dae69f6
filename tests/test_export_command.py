"""`gemma-bench export` as users call it: whole or not there, whatever ends it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM

from engine.run.rundir import RunDir
from tests import adapted_runs, command
from tests.failpoints import OF_EXPORTS

TOKENS = torch.arange(5, 53).view(2, 24)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of the embedded model that left an adapter."""
    return adapted_runs.left(tmp_path, "embedded")[0]


def exports(run: RunDir) -> list[str]:
    """What lies where exports are made."""
    return sorted(path.name for path in run.exports.iterdir()) if run.exports.exists() else []


def hashes_are_true(folder: Path) -> bool:
    """Whether the manifest names every other file, with its SHA-256."""
    files = json.loads((folder / "export.json").read_bytes())["files"]
    lines = "".join(f"{entry['sha256']}  {name}\n" for name, entry in files.items())
    checked = subprocess.run(["sha256sum", "-c"], input=lines.encode(), cwd=folder, check=False,
                             capture_output=True)  # fmt: skip
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return checked.returncode == 0 and there == {*files, "export.json"}


def test_both_forms_are_loaded_by_the_libraries_alone(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = command.call(tmp_path, "export", str(run.path), "--as", "merged")
    assert code == 0, err
    merged, adapter = run.exports / "merged", run.exports / "adapter"
    assert out.startswith(f"{merged}: merged, 6.8 MiB\n  ")
    assert " greedy answers are those of base and adapter; logits differ by 0.0" in out
    code, out, err = command.call(
        tmp_path, "export", str(run.path), "--as", "adapter", "--json", "--adapter", "adapter"
    )
    assert code == 0, err
    assert json.loads(out)["folder"] == str(adapter)
    assert json.loads(out)["modules"] == 36
    assert exports(run) == ["adapter", "merged"]
    assert hashes_are_true(merged)
    assert hashes_are_true(adapter)
    monkeypatch.chdir(adapter)
    models = (
        AutoPeftModelForCausalLM.from_pretrained(".", dtype=torch.float32),
        AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32),
    )
    with torch.no_grad():
        difference = (models[0](TOKENS).logits - models[1](TOKENS).logits).abs()
    assert float(difference.median()) < 0.02


def test_what_is_in_the_way_is_refused_in_one_message(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    given = {
        "something is there already": ["--out", "full"],
        "no id of the hub": ["--base", "/home/me/model"],
        "there is no such adapter": ["--adapter", "checkpoints/step-000099"],
        "it is a file, and no folder": ["--out", "rows.jsonl/adapter"],
        "no-such-run": [],
    }
    for words, arguments in given.items():
        name = "no-such-run" if words == "no-such-run" else str(run.path)
        code, out, err = command.call(tmp_path, "export", name, "--as", "adapter", *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("with --out") <= 1
        assert "Traceback" not in err
    assert exports(run) == []


def test_a_base_that_nobody_else_has_is_asked_for(tmp_path: Path, gemma_folder: object) -> None:
    folder = gemma_folder("gemma3")  # type: ignore[operator]
    run, _ = adapted_runs.left(tmp_path, str(folder))
    line = ["export", str(run.path), "--as", "adapter"]
    code, out, err = command.call(tmp_path, *line)
    assert (code, out, exports(run)) == (2, "", [])
    advice = err.split("--base ")[1].split(",")[0]
    code, _, err = command.call(tmp_path, *line, "--base", advice)
    assert code == 0, err
    config = json.loads((run.exports / "adapter/adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == advice


def test_points_are_named() -> None:
    assert len(OF_EXPORTS) >= 4


@pytest.mark.parametrize("point", OF_EXPORTS)
def test_nothing_is_left_of_one_that_dies_anywhere(
    point: str, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMMA_BENCH_FAIL", f"{point}:kill")
    line = ["export", str(run.path), "--as", "gguf" if point == "export.gguf" else "merged"]
    code, out, err = command.call(tmp_path, *line)
    assert (code, out) == (1, "")
    assert "the engine was killed by signal 9" in err
    assert exports(run) == []


@pytest.mark.parametrize("error", ["enospc", "eio"])
def test_a_disk_that_fails_is_told_once_and_leaves_nothing(
    error: str, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMMA_BENCH_FAIL", f"export.weights:{error}")
    code, out, err = command.call(tmp_path, "export", str(run.path), "--as", "merged")
    assert (code, out) == (1, "")
    assert ("the disk is full" if error == "enospc" else "Input/output error") in err
    assert err.count("\n") == 1
    assert exports(run) == []


def test_ctrl_c_leaves_nothing(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMMA_BENCH_FAIL", "export.weights:sleep")
    viewer = command.start(tmp_path, "export", str(run.path), "--as", "merged")
    command.wait(lambda: ".merged.part" in exports(run))
    viewer.send_signal(signal.SIGINT)
    assert command.finish(viewer)[0] == 130
    assert exports(run) == []


def test_an_engine_ends_with_its_viewer_and_leaves_nothing(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMMA_BENCH_FAIL", "export.weights:sleep")
    viewer = command.start(tmp_path, "export", str(run.path), "--as", "merged")
    command.wait(lambda: ".merged.part" in exports(run))
    viewer.kill()
    command.finish(viewer)
    command.wait(lambda: exports(run) == [])


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_without_room_is_refused_before_anything_is_made(
    run: RunDir, tmp_path: Path, small: Path
) -> None:
    line = ["export", str(run.path), "--as", "merged", "--out", str(small / "merged")]
    code, out, err = command.call(tmp_path, *line)
    assert (code, out) == (2, "")
    assert "are free there" in err
    assert os.listdir(small) == []
