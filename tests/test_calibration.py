"""What a card was measured to take beside PyTorch, and the forecast that follows."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.budget import calibration
from engine.budget.forecast import Band
from engine.budget.placement import forecast_recipe
from engine.hardware import profiles
from engine.recipe import validate

CARD = "NVIDIA GeForce RTX 3060 8 GB"
KEY = calibration.key(CARD, "570", "2.13")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = tmp_path / "gemma-bench" / "calibration.json"
    file.parent.mkdir()
    return file


def device() -> Band:
    """GiB that the driver will say of a 4B in 4 bits on a card of 8 GB."""
    recipe, _ = validate.load("gemma3-4b-qlora-sft", [], on_paper=True)
    return forecast_recipe(recipe, profiles.profile("rtx-3060-8gb")).budget.device


def test_the_latest_run_of_a_card_counts_whatever_its_driver() -> None:
    here, there = (calibration.key("L4", driver, "2.13") for driver in ("570", "580"))
    assert calibration.context_gib("L4") is None
    calibration.remember(here, 0.4)
    calibration.remember(there, 0.5)
    assert calibration.context_gib("L4") == 0.5
    calibration.remember(here, 0.6)
    assert calibration.context_gib("L4") == 0.6
    assert calibration.context_gib("L40S") is None


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{",
        "\xff",
        *(json.dumps({KEY: r}) for r in (3, {}, {"mood": 1}, {"context_gib": "x"})),
    ],
)
def test_a_damaged_file_holds_no_measurement(damage: str, file: Path) -> None:
    file.write_text(damage, "latin-1")
    assert calibration.context_gib(CARD) is None
    calibration.remember(KEY, 0.5)
    assert calibration.context_gib(CARD) == 0.5


@pytest.mark.parametrize(
    ("record", "expected_gib", "high_gib"),
    [
        (None, 5.177, 5.712),
        (
            {"context_gib": None, "allocated_ratio": 1.02, "reserved_ratio": 1.05, "runs": 2},
            5.177,
            5.712,
        ),
        (
            {"context_gib": 0.7, "allocated_ratio": 1.02, "reserved_ratio": None, "runs": 1},
            5.477,
            5.812,
        ),
        ({"context_gib": 0.0}, 4.777, 5.112),
    ],
    ids=["nothing measured", "a driver that knew no process", "measured", "measured as nothing"],
)
def test_a_forecast_adds_the_measured_context_or_the_profiles(
    record: dict[str, Any] | None, expected_gib: float, high_gib: float, file: Path
) -> None:
    """A driver in a container lists no process: the profile's 0.4 GiB stand then."""
    file.write_text(json.dumps({} if record is None else {KEY: record}))
    assert (device().expected, device().high) == (expected_gib, high_gib)
