"""`gemma-bench doctor` as users meet it, and the fast checks before a run."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import installed
from engine.run.rundir import RunDir
from engine.sessions import doctor_report
from engine.sessions.doctor_report import Diagnosis, Finding
from tests import command
from tests.terminal import APP, Tmux

MACHINE = [
    "runs can be made in this folder",
    "names in this folder reach the disk",
    "the user's own folders can be written",
    "measurements of cards can be read",
]
ALL = [
    "versions inside the tested set",
    "golden tokens",
    "golden figures in float32",
    "golden figures in bfloat16",
    "golden figures in NF4",
    "NF4 products against their weights",
    "golden figures of images",
    "known step",
    "known chain of steps",
    "known steps of 8-bit AdamW",
    "known step of DoRA",
    "terminator supervised",
    "prompt is a prefix",
    "double BOS",
    "tied-embedding LoRA refused",
    "accumulation scaling",
    "accumulation weighting",
    "checkpointing gradients",
    "KV sharing with and without cache",
    "packing leak",
    "empty mask",
    "soft cap applied by the fused head",
    "NaN shown as NaN",
    "adapter targets",
    "adapter reload equals adapter trained",
    "dropout in training alone",
    "host tables equal device tables",
    "NF4 experts against dequantised",
    "NF4 layers after an answer",
]
SHORT = [
    *("--set", "training.max_steps=1", "--set", "training.warmup_steps=0"),
    *("--set", "samples.prompts=[]"),
    *("--set", "score.max_new_tokens=1", "--out", "run"),
]
OTHER_VERSION = """
from importlib import metadata
right = metadata.version
metadata.version = lambda name: "4.0" if name == "plotext" else right(name)
"""
"""A plotext that nobody tested, for every interpreter that has this on its path."""


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where findings are kept, empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "gemma-bench" / "doctor.json"


@pytest.fixture
def other_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(OTHER_VERSION)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)


def warnings(run: RunDir) -> Iterator[dict[str, Any]]:
    return (one for one in command.records(run) if one["kind"] == "warning")


@pytest.mark.slow
def test_json_is_the_contract_and_all_is_well_here(tmp_path: Path, kept: Path) -> None:
    code, out, err = command.call(tmp_path, "doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == ["versions", "checks"]
    assert [check["name"] for check in found["checks"]] == MACHINE + ALL
    for check in found["checks"]:
        assert list(check) == ["name", "passed", "figure", "limit", "advice"]
        assert check["passed"] is True
        assert 0 <= check["figure"] <= check["limit"]
    assert found["versions"] == installed.versions()
    assert {"gemma-bench", "torch", "transformers", "trl", "peft"} <= set(found["versions"])
    assert json.loads(kept.read_text())["checks"] == found["checks"][len(MACHINE) :]


def test_a_failed_check_is_exit_1_with_what_to_do(tmp_path: Path, other_version: None) -> None:
    code, out, err = command.call(tmp_path, "doctor", "--fast")
    assert (code, err) == (1, "")
    lines = out.splitlines()[len(MACHINE) :]
    assert " ".join(lines[0].split()) == "FAIL versions inside the tested set 1 (at most 0)"
    assert "plotext 4.0 (<6,>=5.3 is tested). Install the project again" in lines[1]
    assert lines[2].startswith("ok    golden tokens")
    assert lines[-2] == "13 of 14 checks passed"
    assert "plotext 4.0" in lines[-1]


def test_a_terminal_is_told_what_it_waits_for(tmp_path: Path) -> None:
    with Tmux(tmp_path, [*APP, "doctor", "--fast"], 100, 30) as tmux:
        tmux.until("loading: the packages")
        tmux.until("ok    double BOS", 120)
        screen = tmux.until("left with 0", 120)
    assert "14 of 14 checks passed" in screen
    assert "loading" not in screen
    assert "checking" not in screen


@pytest.mark.slow
def test_a_run_begins_with_the_fast_checks_once(
    tmp_path: Path, kept: Path, other_version: None
) -> None:
    code, out, err = command.call(tmp_path, "--run", "quickstart", *SHORT)
    assert (code, err) == (0, ""), "a failed check is no refusal"
    told = list(warnings(RunDir(tmp_path / "run")))
    assert [one["code"] for one in told] == ["doctor"]
    assert "'versions inside the tested set' fails on this install: 1, and" in told[0]["message"]
    assert "plotext 4.0" in told[0]["fix"]
    assert "warning: the doctor's check" in out
    found = json.loads(kept.read_text())
    assert len(found["checks"]) == 10

    found["checks"][0]["advice"] = "kept"
    kept.write_text(json.dumps(found))
    command.call(tmp_path, "--run", "quickstart", *SHORT[:-1], "again")
    (again,) = warnings(RunDir(tmp_path / "again"))
    assert again["fix"].startswith("kept.")


def test_a_run_that_is_interrupted_while_it_waits_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    process = command.start(tmp_path, "--run", "quickstart", *SHORT)
    command.wait(lambda: [*folder.glob("*/events.jsonl")])
    process.send_signal(signal.SIGINT)
    code, _, err = command.finish(process)
    assert code == 130
    assert "interrupted" in err
    assert not (tmp_path / "run").exists()
    assert [*folder.iterdir()] == []


def finding(name: str, *, passed: bool) -> Finding:
    return Finding(name, passed, 0.5, 1e-3, "do this")


def test_findings_are_kept_by_versions_and_name(kept: Path) -> None:
    versions = {"torch": "2.13"}
    assert doctor_report.load(versions) is None
    doctor_report.keep(Diagnosis(versions, (finding("a", passed=False), finding("b", passed=True))))
    doctor_report.keep(Diagnosis(versions, (finding("a", passed=True), finding("c", passed=False))))
    found = doctor_report.load(versions)
    assert found
    assert {one.name: one.passed for one in found.findings} == {"a": True, "b": True, "c": False}
    assert [warning.message for warning in found.warnings()] == [
        "the doctor's check 'c' fails on this install: 0.5, and at most 0.001 is right"
    ]
    assert doctor_report.load({"torch": "2.14"}) is None
    doctor_report.keep(Diagnosis({"torch": "2.14"}, ()))
    assert doctor_report.load(versions) is None
    for damage in ("", "[]", "{", '{"versions": {}, "checks": [{"nme": 1}]}'):
        kept.write_text(damage)
        assert doctor_report.load({}) is None


def test_the_engine_alone_examines_into_its_folder(tmp_path: Path) -> None:
    """As any job: its folder holds the request, and then events and findings."""
    run = RunDir(tmp_path / "examined")
    run.path.mkdir()
    run.request.write_text(json.dumps({"doctor": {"fast": True}}))
    done = os.spawnv(
        os.P_WAIT, sys.executable, [sys.executable, "-m", "engine", "doctor", str(run.path)]
    )
    assert done == 0
    found = doctor_report.from_record(json.loads((run.path / "diagnosis.json").read_bytes()))
    assert found.has_passed
    details = [one["detail"] for one in command.records(run) if one["kind"] == "phase"]
    assert details == ["the packages", *(one.name for one in found.findings)]
    assert command.kinds(run)[-1] == "done"
