"""The doctor fails on what a run would stumble over, in words that say what mends it."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from odd_disk import NEEDS_GCC, library

from engine.hardware import visible_card
from engine.hardware.card_probe import CardAnswer
from engine.hardware.profiles import Profile
from tests import pretended_card
from tests.pretended_card import ROOT
from workbench.commands import doctor_machine

CARD = Profile("auto", "NVIDIA One", "cuda", 24.0, 0.95, True, visible_as="GPU-aaaa-1111",
               reason="NVML names NVIDIA One", free_gib=22.0)  # fmt: skip
USABLE = CardAnswer("2.13.0", "13.0")
ASK = """
import json, sys
from pathlib import Path
from workbench.commands import doctor_machine
found = doctor_machine.findings(Path(sys.argv[1]))
print(json.dumps([[one.name, one.advice] for one in found if not one.passed]))
"""
CLEAN = ("CUDA_", "HIP_", "FAKE_", "ODD_")
Failures = Callable[..., list[list[str]]]
DAMAGED_MEASUREMENTS = [
    ("{", "can't be read"),
    ("\xff", "can't be read"),
    ("[]", "holds no measurements"),
    ('{"L4 | driver 1 | torch 2": {"context_gib": null}}', "holds no context of L4 | driver 1"),
    ('{"L4": {"context_gib": 0.5}, "T4": {"context_gib": 0.0}}', "holds no context of T4"),
]


@pytest.fixture(scope="module")
def odd_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("library"), "odd_disk")


@pytest.fixture
def failures(tmp_path: Path) -> Failures:
    """Names and advice of what fails, with more variables, in an empty folder that stands alone."""
    (tmp_path / "here").mkdir()
    (tmp_path / "nodes").mkdir()

    def ask(**variables: str) -> list[list[str]]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(CLEAN)}
        env |= {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path / "data")}
        env |= {"LD_LIBRARY_PATH": str(tmp_path), **variables}
        done = subprocess.run(
            [sys.executable, "-c", ASK, tmp_path / "nodes"], cwd=tmp_path / "here",
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        failed: list[list[str]] = json.loads(done.stdout)
        return failed

    return ask


def test_nothing_fails_on_a_sound_machine_and_nothing_is_left(
    failures: Failures, tmp_path: Path
) -> None:
    assert failures() == []
    assert [*(tmp_path / "here").iterdir()] == []
    assert not (tmp_path / "data").exists()
    (tmp_path / "data" / "gemma-bench").mkdir(parents=True)
    known = tmp_path / "data" / "gemma-bench" / "calibration.json"
    known.write_text('{"L4 | driver 1 | torch 2": {"context_gib": 0.5}}')
    assert failures() == []


@pytest.mark.parametrize(("content", "words"), DAMAGED_MEASUREMENTS)
def test_measurements_that_no_forecast_can_use_fail(
    content: str, words: str, failures: Failures, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "gemma-bench" / "calibration.json"
    file.parent.mkdir(parents=True)
    file.write_text(content, "latin-1")
    ((name, advice),) = failures()
    assert name == "measurements of cards can be read"
    assert f"{file} {words}" in advice
    assert "remove it" in advice
    file.unlink()
    assert failures() == [], "the advice mends it"


@NEEDS_GCC
@pytest.mark.parametrize(
    ("kind", "error", "below", "name", "words"),
    [
        ("LOCKS", errno.ENOLCK, "here", "runs can be made in this folder", "grants no locks"),
        ("LOCKS", errno.ENOSYS, "here", "runs can be made in this folder", "--out"),
        ("NEW", errno.EROFS, "here", "runs can be made in this folder", "Read-only file system"),
        ("FOLDER_SYNC", errno.EIO, "here", "names in this folder reach the disk", "Input/output"),
        ("NEW", errno.EROFS, "home", "the user's own folders can be written", "XDG_DATA_HOME"),
    ],
)
def test_a_disk_that_lacks_something_fails(
    kind: str, error: int, below: str, name: str, words: str,
    failures: Failures, odd_library: Path, tmp_path: Path,
) -> None:  # fmt: skip
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    odd = {f"ODD_{kind}": f"{error}:{folder}", "LD_PRELOAD": str(odd_library)}
    ((failed, advice),) = failures(XDG_DATA_HOME=str(tmp_path / "home"), **odd)
    assert failed == name
    assert str(folder) in advice
    assert words in advice


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
@pytest.mark.parametrize(
    ("mode", "node", "hidden", "words"),
    [
        ("mismatch", "nvidiactl", "0", "there is an NVIDIA card, but runs take the CPU: the NVID"),
        ("notloaded", "nvidiactl", "0", "nvidia-smi says more"),
        ("mismatch", "dxg", "0", ""),
        ("mismatch", "nvidiactl", "", ""),
    ],
)
def test_a_card_whose_driver_is_silent_fails(
    mode: str, node: str, hidden: str, words: str,
    failures: Failures, drivers: Path, tmp_path: Path,
) -> None:  # fmt: skip
    """Not under WSL, which has its node without a card too, nor where the user hides it."""
    (tmp_path / "nodes" / node).touch()
    failed = failures(
        FAKE_NVML=mode, LD_LIBRARY_PATH=str(drivers / "new"), CUDA_VISIBLE_DEVICES=hidden
    )
    assert [name for name, _ in failed] == ["the card is one that torch can use"] * bool(words)
    assert all(words in advice for _, advice in failed)


@pytest.mark.parametrize(
    ("profile", "answer", "name", "words"),
    [
        ({}, {"cuda": "", "product": "AssertionError: not compiled"},
         "the card is one that torch can use", "built for the CPU only"),
        ({}, {"product": "RuntimeError: The NVIDIA driver on your system is too old"},
         "the card is one that torch can use", "driver 580 or newer"),
        ({}, {"nf4": "RuntimeError: no library"},
         "the card is one that torch can use", "force-reinstall bitsandbytes"),
        ({}, {"triton": "RuntimeError: Failed to find C compiler"},
         "Triton builds kernels for the card", "apt install gcc python3-dev"),
        ({}, {"triton": "ModuleNotFoundError: No module named 'triton'"},
         "Triton builds kernels for the card", "pip install triton"),
        ({}, {"cards": 2}, "a run sees one card", "see 2 cards. Set CUDA_VISIBLE_DEVICES"),
        ({"free_gib": 6.0, "holders": "ollama, Xorg"}, {},
         "memory of the card is free", "16.8 GiB held by ollama, Xorg. End it"),
        ({"free_gib": 18.0}, {}, "", ""),
        ({"free_gib": None}, {}, "", ""),
    ],
)  # fmt: skip
def test_each_trouble_of_a_card_fails_alone(
    profile: dict[str, Any], answer: dict[str, Any], name: str, words: str
) -> None:
    found = [*doctor_machine.of_card(replace(CARD, **profile), replace(USABLE, **answer))]
    failed = [one for one in found if not one.passed]
    assert [one.name for one in failed] == [name] * bool(name)
    assert all(words in one.advice for one in failed)
    if not failed:
        assert len(found) == 4


def test_one_card_is_left_whatever_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """ROCm takes a variable of its own before CUDA's."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert visible_card.first() == "0"
    assert "HIP_VISIBLE_DEVICES" not in visible_card.only("GPU-aaaa-1111")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2")
    assert visible_card.first() == "3"
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1,2")
    one = visible_card.only(visible_card.first())
    assert (one["CUDA_VISIBLE_DEVICES"], one["HIP_VISIBLE_DEVICES"]) == ("1", "1")


@NEEDS_GCC
def test_the_command_ends_with_1_and_names_all_of_them(
    drivers: Path, odd_library: Path, tmp_path: Path
) -> None:
    """On a pretended card, one of two: others hold it, nothing compiles, a disk without locks."""
    environment = pretended_card.built(tmp_path)
    here, data = tmp_path / "here", tmp_path / "data" / "gemma-bench"
    here.mkdir()
    data.mkdir(parents=True)
    (data / "calibration.json").write_text("{")
    env = environment(cards=2) | {
        "LD_LIBRARY_PATH": str(drivers / "new"), "FAKE_NVML": "two", "FAKE_USED_MIB": "23000",
        "FAKE_USED_MIB_2": "16000", "FAKE_PID": str(os.getpid()), "LD_PRELOAD": str(odd_library),
        "ODD_LOCKS": f"{errno.ENOLCK}:{here}", "ODD_FOLDER_SYNC": f"{errno.EINVAL}:{here}",
        "GEMMA_BENCH_CACHE": str(tmp_path / "cache"), "XDG_DATA_HOME": str(data.parent),
    }  # fmt: skip
    env.pop("CUDA_VISIBLE_DEVICES", None)
    line = [sys.executable, "-m", "workbench.cli", "doctor", "--fast"]
    done = subprocess.run(line, cwd=here, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    shown = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert "ok the card is one that torch can use 0 (at most 0)" in shown
    at = shown.index("ok a run sees one card 1 (at most 1)")
    assert "of 2 cards the one with most free memory" in shown[at + 1]
    at = shown.index("ok names in this folder reach the disk 0 (at most 0)")
    assert "its file system flushes no folders" in shown[at + 1], "runs work there, which is told"
    failed = [line.partition(" (")[0].rpartition(" ")[0] for line in shown if "FAIL" in line]
    assert failed == [
        "FAIL Triton builds kernels for the card", "FAIL memory of the card is free",
        "FAIL runs can be made in this folder",
        "FAIL measurements of cards can be read",
    ]  # fmt: skip
