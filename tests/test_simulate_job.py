"""The job that simulates a step: request in, answer out, kept answers, an end when asked."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from trl.kernels import chunked_logprob

from engine.budget.step_shape import StepShape
from engine.jobs import simulate_job
from engine.recipe.schema import ATTENTION
from tools.simulator import patches
from tools.simulator.configuration import configuration, source
from tools.simulator.patches import StandIn
from tools.simulator.report import answer

ROOT = Path(__file__).parents[1]
ASKED = {"model": "embedded", "length": 64, "target_modules": list(ATTENTION), "device": "cpu"}


def started(folder: Path, request: dict[str, Any]) -> subprocess.Popen[bytes]:
    run = folder / "run"
    run.mkdir(exist_ok=True)
    (run / "request.json").write_text(json.dumps(request))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "engine", "simulate", str(run)],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )


def done(folder: Path, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    code = started(folder, request).wait(300)
    file = folder / "run" / "simulated.json"
    return code, json.loads(file.read_bytes()) if file.exists() else {}


@pytest.mark.slow
def test_an_answer_is_written_and_kept(tmp_path: Path) -> None:
    code, first = done(tmp_path, {"simulate": {"case": ASKED}})
    assert code == 0
    assert (first["source"], first["missing"], first["error"]) == ("simulated", [], None)
    assert sum(row["gib"] for row in first["rows"]) == pytest.approx(
        first["allocated_gib"], abs=1e-3
    )
    assert first["case"]["length"] == 64
    assert not [*(tmp_path / "run").glob("*.part")]
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text(kept.read_text().replace('"simulated"', '"kept"', 1))
    assert done(tmp_path, {"simulate": {"case": ASKED}})[1]["source"] == "kept"
    assert done(tmp_path, {"simulate": {"case": {**ASKED, "length": 65}}})[1]["source"] != "kept"


@pytest.mark.parametrize("case", [{"model": "nonesuch"}, {"model": "embedded", "modl": 1}])
def test_a_bad_request_is_refused(case: dict[str, Any], tmp_path: Path) -> None:
    code, found = done(tmp_path, {"simulate": {"case": case}})
    assert (code, found) == (2, {})
    last = (tmp_path / "run" / "events.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["kind"] == "failed"


def test_it_ends_when_asked(tmp_path: Path) -> None:
    process = started(tmp_path, {"simulate": {"case": {**ASKED, "model": "gemma-3-27b"}}})
    events = tmp_path / "run" / "events.jsonl"
    deadline = time.monotonic() + 60
    while not (events.exists() and "simulating" in events.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 1
    assert "stopped by SIGTERM" in events.read_text()
    assert not (tmp_path / "run" / "simulated.json").exists()


def test_it_ends_when_nobody_waits(tmp_path: Path) -> None:
    """The file of the viewer's lock is there, but the viewer that held it isn't."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "viewer.lock").touch()
    code, found = done(tmp_path, {"simulate": {"case": ASKED}})
    assert (code, found) == (1, {})
    assert "nobody waits" in (tmp_path / "run" / "events.jsonl").read_text()


def test_a_function_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL without the function whose tile is left out: the figures are there, and say so."""
    usual = patches.of_case
    gone = StandIn("trl.kernels.chunked_logprob", "_tile_of_another_release", lambda _: None)
    monkeypatch.setattr(patches, "of_case", lambda case: [*usual(case), gone])
    case = StepShape(model="embedded", length=64, target_modules=ATTENTION)
    given = answer(configuration(source("embedded")), case)
    assert given.missing == ["trl.kernels.chunked_logprob._tile_of_another_release"]
    assert given.allocated_gib


def test_a_step_that_cannot_be_simulated_is_told_not_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Packages of another release: the tile and the class of the head are gone."""
    for name in ("_forward_tile", "ChunkedLogProbFunction"):
        monkeypatch.delattr(chunked_logprob, name)
    case = StepShape(model="embedded", length=64, target_modules=ATTENTION)
    told = simulate_job._simulated(source("embedded"), case, False, lambda: None, 0.0)
    assert (told["source"], told["allocated_gib"], told["rows"]) == ("unavailable", None, [])
    assert told["missing"] == ["trl.kernels.chunked_logprob._forward_tile"]
    assert "ChunkedLogProbFunction" in told["error"]


def test_what_was_replaced_is_put_back() -> None:
    case = StepShape(model="")
    before = [getattr(patches._owner(s.module), s.name) for s in patches.of_case(case)]
    with pytest.raises(KeyError), patches.replaced(patches.of_case(case)):
        raise KeyError
    after = [getattr(patches._owner(s.module), s.name) for s in patches.of_case(case)]
    assert all(one is other for one, other in zip(before, after, strict=True))
