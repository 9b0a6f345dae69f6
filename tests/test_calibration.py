"""What a card was measured to take beside PyTorch, and the forecast that follows."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from engine.budget import calibration
from engine.budget.forecast import Band
from engine.budget.placement import forecast_recipe
from engine.hardware import profiles
from engine.recipe import validate
from tests import pretended_card
from tests.pretended_card import ROOT

CARD = "NVIDIA GeForce RTX 3060 8 GB"
TORCH = metadata.version("torch")
NOW = f"{CARD} | driver unknown | torch {TORCH}"
OLDER = f"{CARD} | driver 535.1 | torch 2.6.0"
ANOTHER = f"NVIDIA GeForce RTX 3060 8 GB Ti | driver unknown | torch {TORCH}"
GUESSED = 5.17, 5.704


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "_driver", lambda: "unknown")
    return tmp_path / "gemma-bench" / "calibration.json"


def device() -> Band:
    """GiB that the driver will say of a 4B in 4 bits on a card of 8 GB."""
    recipe, _ = validate.load("gemma3-4b-qlora-sft", [], on_paper=True)
    return forecast_recipe(recipe, profiles.profile("rtx-3060-8gb")).budget.device


@pytest.mark.parametrize(
    ("content", "expected_gib", "high_gib"),
    [
        (None, *GUESSED),
        ("", *GUESSED),
        ("{", *GUESSED),
        ("\xff", *GUESSED),
        ("[" * 100_000, *GUESSED),
        ("[]", *GUESSED),
        ({}, *GUESSED),
        ({NOW: 3}, *GUESSED),
        ({NOW: {}}, *GUESSED),
        ({NOW: {"mood": 1}}, *GUESSED),
        ({NOW: {"context_gib": "x"}}, *GUESSED),
        ({NOW: {"context_gib": None, "allocated_ratio": 1.02, "runs": 2}}, *GUESSED),
        ({NOW: {"context_gib": 0.0, "allocated_ratio": 0.0}}, *GUESSED),
        ({NOW: {"context_gib": 0.02}}, *GUESSED),
        ({NOW: {"context_gib": 6.0}}, *GUESSED),
        ({NOW: {"context_gib": True}}, *GUESSED),
        ({ANOTHER: {"context_gib": 0.7}}, *GUESSED),
        ({NOW: {"context_gib": 0.7}}, 5.47, 5.804),
        ({NOW: {"context_gib": 0.7, "allocated_ratio": 1.5, "reserved_ratio": 2.0}}, 5.47, 5.804),
        ({OLDER: {"context_gib": 0.5}}, 5.27, 5.704),
        ({OLDER: {"context_gib": 0.7}}, 5.47, 5.804),
        ({NOW: {"context_gib": 0.5}, OLDER: {"context_gib": 0.7}}, 5.27, 5.604),
        ({NOW: {"context_gib": None}, OLDER: {"context_gib": 0.5}}, 5.27, 5.704),
        ({OLDER: {"context_gib": 0.5}, ANOTHER: {"context_gib": 0.9}, "mood": []}, 5.27, 5.704),
    ],
)  # fmt: skip
def test_a_forecast_by_what_the_file_of_measurements_holds(
    content: str | dict[str, Any] | None, expected_gib: float, high_gib: float, file: Path
) -> None:
    """Absent, damaged, partial, of an older version, of another card, of other versions.

    The profile's guess is 0.4 GiB, and 0.6 at most.
    """
    if content is not None:
        file.parent.mkdir()
        text = content if isinstance(content, str) else json.dumps(content)
        file.write_text(text, "latin-1")
    assert (device().expected, device().high) == (expected_gib, high_gib)


def test_the_latest_run_of_these_versions_counts_else_the_latest_of_others() -> None:
    older, old = (calibration.key("L4", driver, "2.6") for driver in ("535", "550"))
    now = calibration.key("L4", "unknown", TORCH)
    assert calibration.context("L4") is None
    calibration.remember(old, 0.4)
    calibration.remember(older, 0.5)
    assert calibration.context("L4") == (0.5, False)
    calibration.remember(old, 0.45)
    assert calibration.context("L4") == (0.45, False)
    calibration.remember(now, 0.6)
    calibration.remember(older, 0.7)
    assert calibration.context("L4") == (0.6, True)
    assert calibration.context("L40S") is None


@pytest.mark.parametrize("none", [0.0, 0.02, -0.3, 6.0])
def test_what_is_no_context_overwrites_none(none: float, file: Path) -> None:
    calibration.remember(NOW, 0.5)
    calibration.remember(NOW, none)
    assert calibration.context(CARD) == (0.5, True)
    assert json.loads(file.read_text()) == {NOW: {"context_gib": 0.5}}


def test_a_damaged_file_is_written_anew(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("{")
    calibration.remember(NOW, 0.5)
    assert calibration.context(CARD) == (0.5, True)


HELD = {"FAKE_USED_MIB": "2048"}
PRETENDED = f"Pretended Card | driver 580.65 | torch {TORCH}"
CASES: list[tuple[str, dict[str, str], dict[str, str], list[float | None], float | None]] = [
    ("cuda", HELD, {"FAKE_OWN_MIB": "576"}, [0.062, 0.062, 0.562], 0.5),
    ("cuda", HELD, {"FAKE_USED_MIB": "2624"}, [0.062, 0.062, 0.562], 0.5),
    ("cuda", HELD, {"FAKE_OWN_MIB": "?", "FAKE_USED_MIB": "2624"}, [0.062, 0.062, 0.562], 0.5),
    ("cuda", HELD, {"FAKE_USED_MIB": "9000"}, [0.062, 0.062, 6.789], None),
    ("cuda", HELD, {"FAKE_USED_MIB": "1024"}, [0.062, 0.062, None], None),
    ("cuda", {"FAKE_NVML": "mismatch"}, {}, [0.062, 0.062, None], None),
    ("cuda", {"FAKE_NVML": "unified"}, {}, [0.062, 0.062, None], None),
    ("cpu", HELD, {"FAKE_OWN_MIB": "576"}, [None, None, None], None),
]
"""Device of the run; what the driver says before it and after its second step; what is told of the
card (allocated, reserved, by the driver), and the context that is kept."""


def test_a_run_tells_and_keeps_what_its_own_device_took(drivers: Path, tmp_path: Path) -> None:
    """Of a driver that knows the process; in a container; under WSL; beside others; of a CPU."""
    environment = pretended_card.built(tmp_path)
    cases = [{"device": d, "before": before, "after": after} for d, before, after, _, _ in CASES]
    done = subprocess.run(
        [sys.executable, "-m", "tests.measured_card", str(tmp_path / "runs"), json.dumps(cases)],
        cwd=ROOT, env={**environment(), "LD_LIBRARY_PATH": str(drivers / "new")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["figures"] for one in told] == [figures for *_, figures, _ in CASES]
    kept = [{PRETENDED: {"context_gib": gib}} if gib else {} for *_, gib in CASES]
    assert [one["kept"] for one in told] == kept
