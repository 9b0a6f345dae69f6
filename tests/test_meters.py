"""How busy the machine is, as a driver in good or ill health tells it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.hardware.monitor import GpuUsage, HardwareMonitor, HardwareUsage
from workbench.run_view.run_facts import usage_row
from workbench.text.styled import plain

ROOT = Path(__file__).parents[1]
_READ = """
import dataclasses, json, os, sys
from engine.hardware.monitor import HardwareMonitor
gauge, told = HardwareMonitor(".", 4242), []
for pid in (os.environ.get("FAKE_PID", "0"), os.environ.get("LATER_PID", "0")):
    os.environ["FAKE_PID"] = pid
    told.append(dataclasses.asdict(gauge.read()))
print(json.dumps(told))
"""
_PATIENCE_S = 30
"""A driver that hangs does so for a minute."""


def read(drivers: Path, mode: str, **more: str) -> list[dict[str, Any]]:
    env = {**os.environ, "LD_LIBRARY_PATH": str(drivers / "new"), "FAKE_NVML": mode, **more}
    done = subprocess.run(
        [sys.executable, "-c", _READ], cwd=ROOT, env=env, capture_output=True, check=True,
        timeout=_PATIENCE_S,
    )  # fmt: skip
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def test_the_only_card_is_read(drivers: Path) -> None:
    first, second = read(drivers, "ok")
    assert first["gpu"] == second["gpu"]
    assert first["gpu"] == {
        "busy_share": 0.87,
        "used_gib": 6.0,
        "total_gib": 24.0,
        "temperature_c": 71,
        "power_w": 310.5,
    }


def test_of_several_cards_the_one_that_the_engine_computes_on(drivers: Path) -> None:
    assert read(drivers, "two", FAKE_PID="4242")[0]["gpu"]["busy_share"] == 0.87
    assert read(drivers, "two", FAKE_PID="1")[0]["gpu"] is None


def test_an_engine_may_come_to_its_card_later(drivers: Path) -> None:
    first, second = read(drivers, "two", FAKE_PID="1", LATER_PID="4242")
    assert first["gpu"] is None
    assert second["gpu"]["busy_share"] == 0.87


def test_what_a_card_does_not_tell_is_left_out(drivers: Path) -> None:
    gpu = read(drivers, "unified")[0]["gpu"]
    assert (gpu["busy_share"], gpu["used_gib"], gpu["power_w"]) == (None, None, None)
    assert gpu["temperature_c"] == 71


@pytest.mark.parametrize("mode", ["mismatch", "notloaded", "lost"])
def test_a_driver_in_trouble_leaves_host_and_disk(drivers: Path, mode: str) -> None:
    told = read(drivers, mode)[0]
    assert told["gpu"] is None
    assert 0 < told["host_used_gib"] < told["host_total_gib"]
    assert told["disk_free_gib"] > 0


def test_a_driver_that_hangs_is_waited_for_once(drivers: Path) -> None:
    assert [told["gpu"] for told in read(drivers, "hang")] == [None, None]


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        HardwareMonitor(tmp_path / "gone", 1).read()


BUSY = HardwareUsage(GpuUsage(0.87, 23.5, 24.0, 91, 310.5), 12.1, 64.0, 2.4)


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            100,
            " 87%  23.5 of 24.0 GiB  91 °C  310 W    host memory 12.1 of 64.0 GiB"
            "    disk 2 GiB free",
        ),
        (76, " 87%  23.5/24  91 °C  310 W    RAM 12.1/64    disk 2 free"),
    ],
)
def test_the_line_fits(width: int, text: str) -> None:
    row = usage_row(BUSY, width)
    assert plain(row) == f"GPU {text}"
    inks = {ink: part for part, ink in row}
    assert inks["bad"].startswith("2")
    assert inks["warn"].startswith("91")
