"""A machine as its NVIDIA driver tells it, for good or ill."""

import ctypes.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from detection import ROOT, detected

from engine.hardware import nvml
from engine.hardware.profiles import Profile


@pytest.fixture
def found(drivers: Path, tmp_path: Path) -> Any:
    """Detects with the driver in some mode, where there are no device files."""

    def detect(mode: str, age: str = "new", **variables: str) -> dict[str, Any]:
        return detected(drivers / age, tmp_path, FAKE_NVML=mode, **variables)

    return detect


def test_the_driver_has_two_seconds() -> None:
    assert nvml.DEADLINE_S <= 2


@pytest.mark.parametrize("mode", ["ok", "two"])
def test_a_card_is_named_with_its_memory(found: Any, mode: str) -> None:
    told = found(mode)
    assert (told["name"], told["device"], told["title"]) == ("auto", "cuda", "NVIDIA One")
    assert (told["memory_gib"], told["usable_share"]) == (24.0, 0.95)
    assert told["host_memory_gib"] == told["host_gib"]
    assert told["reason"].startswith("NVML names NVIDIA One with 24.0 GiB; ")


@pytest.mark.parametrize(
    ("mode", "age", "reason"),
    [
        ("ok", "torn", "no NVIDIA driver: NVML Shared Library Not Found"),
        ("mismatch", "new", "the NVIDIA driver fails: RM has detected an NVML/RM version mismatch"),
        ("noperm", "new", "the NVIDIA driver fails: Insufficient Permissions"),
        ("notloaded", "new", "the NVIDIA driver fails: Driver Not Loaded"),
        ("unknown", "new", "the NVIDIA driver fails: Unknown Error"),
        ("none", "new", "the NVIDIA driver names no device"),
        ("lost", "new", "the NVIDIA driver fails at card 0: GPU is lost"),
        ("lost-memory", "new", "the NVIDIA driver fails at card 0: GPU is lost"),
        ("ok", "old", "the NVIDIA driver fails at card 0: Function Not Found"),
        ("mig-empty", "new", "MIG leaves NVIDIA One no instance"),
        ("mig-memory", "new", "the NVIDIA driver fails at card 0: Not Supported"),
        ("hang", "new", "the NVIDIA driver gave no answer in 2.0 s"),
        ("hang-memory", "new", "the NVIDIA driver gave no answer in 2.0 s"),
    ],
)  # fmt: skip
def test_a_driver_in_trouble_leaves_the_cpu(found: Any, mode: str, age: str, reason: str) -> None:
    told = found(mode, age)
    assert told["device"] == "cpu"
    assert told["memory_gib"] == told["host_memory_gib"] == told["host_gib"]
    assert told["reason"].startswith(reason)


def test_a_machine_without_a_driver_has_its_cpu(found: Any) -> None:
    if ctypes.util.find_library("nvidia-ml"):
        pytest.skip("this machine has a driver")
    told = found("ok", "empty")
    assert told["device"] == "cpu"
    assert told["reason"] == "no NVIDIA driver: NVML Shared Library Not Found"


@pytest.mark.parametrize("mode", ["unified", "zero"])
@pytest.mark.parametrize("name", ["NVIDIA GB10", "NVIDIA One"])
def test_a_card_without_memory_of_its_own_has_the_hosts(found: Any, mode: str, name: str) -> None:
    told = found(mode, FAKE_NAME=name, FAKE_CAPABILITY="12.1")
    assert (told["device"], told["title"]) == ("cuda", name)
    assert told["memory_gib"] == told["host_memory_gib"] == told["host_gib"]
    assert (told["is_unified"], told["usable_share"]) == (True, 0.85)
    assert "shared with the host" in told["reason"]


def test_a_gb10_that_names_some_memory_still_has_the_hosts(found: Any) -> None:
    told = found("ok", FAKE_NAME="NVIDIA GB10", FAKE_MIB="4096")
    assert (told["memory_gib"], told["is_unified"]) == (told["host_gib"], True)
    assert told["bandwidth_gb_s"] == 273.0


@pytest.mark.parametrize("asked", [{}, {"CUDA_VISIBLE_DEVICES": "MIG-cccc"}])
def test_an_instance_of_a_split_card_has_its_own_memory(found: Any, asked: dict[str, str]) -> None:
    told = found("mig", FAKE_NAME="NVIDIA H100 80GB HBM3", FAKE_CAPABILITY="9.0", **asked)
    assert told["title"] == "NVIDIA H100 80GB HBM3 MIG 3g.20gb"
    assert (told["memory_gib"], told["tflops"]) == (12.0, None)
    assert told["cublas_workspace_bytes"] == 32 << 20


@pytest.mark.parametrize(
    ("name", "mib", "profile", "bandwidth"),
    [
        ("NVIDIA GeForce RTX 4090", "24564", "rtx-4090", 1008.0),
        ("NVIDIA GeForce RTX 3060", "12288", "rtx-3060-12gb", 360.0),
        ("NVIDIA GeForce RTX 3060", "8192", "rtx-3060-8gb", 240.0),
        ("NVIDIA A100-PCIE-40GB", "40536", "a100-40gb", 1555.0),
        ("NVIDIA A100-SXM4-80GB", "81920", "a100-80gb", 1935.0),
        ("Tesla T4", "15109", "t4", 320.0),
    ],
)
def test_a_known_card_carries_the_figures_of_its_profile(
    found: Any, name: str, mib: str, profile: str, bandwidth: float
) -> None:
    told = found("ok", FAKE_NAME=name, FAKE_MIB=mib)
    assert (told["name"], told["title"]) == ("auto", name)
    assert told["memory_gib"] == int(mib) / 1024
    assert told["bandwidth_gb_s"] == bandwidth
    assert f"those of the profile {profile}" in told["reason"]


@pytest.mark.parametrize(
    ("capability", "is_new", "workspace"),
    [("7.5", False, 8_519_680), ("8.9", True, 8_519_680), ("9.0", True, 32 << 20),
     ("12.0", True, 32 << 20)],
)  # fmt: skip
def test_of_an_unknown_card_its_generation_is_known(
    found: Any, capability: str, is_new: bool, workspace: int
) -> None:
    told = found("ok", FAKE_CAPABILITY=capability)
    assert (told["has_bf16"], told["has_flash"]) == (is_new, is_new)
    assert told["cublas_workspace_bytes"] == workspace
    assert (told["bandwidth_gb_s"], told["tflops"]) == (None, None)
    assert "its speed is unknown" in told["reason"]


@pytest.mark.parametrize(
    ("name", "capability", "speed", "bandwidth", "in_16_bits", "in_float32"),
    [
        ("NVIDIA GeForce RTX 3080", "8.6", "8704 1710 320 9501", 760.1, 59.5, 29.8),
        ("NVIDIA GeForce RTX 2080 Ti", "7.5", "4352 1545 352 7001", 616.1, 53.8, 13.4),
        ("Tesla V100-SXM2-16GB", "7.0", "5120 1530 4096 877", 898.0, 124.7, 15.7),
        ("NVIDIA A10", "8.6", "9216 1695 384 6251", 600.1, 125.1, 31.2),
        ("NVIDIA H100 PCIe", "9.0", "14592 1755 5120 1593", 2039.0, 757.5, 51.2),
        ("NVIDIA Next", "13.0", "20000 2000 512 14001", None, None, None),
    ],
)  # fmt: skip
def test_the_speed_of_a_card_without_a_profile_is_that_of_its_datasheet(
    found: Any, name: str, capability: str, speed: str, bandwidth: float | None,
    in_16_bits: float | None, in_float32: float | None,
) -> None:  # fmt: skip
    """Cores and clocks are those of NVIDIA's datasheets, whose figures are met within 1 %."""
    told = found("ok", FAKE_NAME=name, FAKE_CAPABILITY=capability, FAKE_SPEED=speed)
    figures = told["bandwidth_gb_s"], told["tflops"], told["float32_tflops"]
    assert figures == (bandwidth, in_16_bits, in_float32)
    assert ("its speed is by cores and clocks" in told["reason"]) is (in_16_bits is not None)


def test_a_known_name_with_other_memory_is_another_card(found: Any) -> None:
    told = found("ok", FAKE_NAME="NVIDIA GeForce RTX 4060 Ti", FAKE_MIB="8188")
    assert told["tflops"] is None
    assert "no profile has that name and memory" in told["reason"]


@pytest.mark.parametrize("hidden", ["", "-1", "-1,0", " "])
def test_every_card_can_be_hidden(found: Any, hidden: str) -> None:
    told = found("ok", CUDA_VISIBLE_DEVICES=hidden)
    assert told["device"] == "cpu"
    assert told["reason"] == "CUDA_VISIBLE_DEVICES hides every GPU"


@pytest.mark.parametrize(
    ("wanted", "title"),
    [("0", "NVIDIA One"), ("1", "NVIDIA Two"), ("1,0", "NVIDIA Two"), ("0, 7", "NVIDIA One"),
     ("GPU-aaaa", "NVIDIA One"), ("GPU-aabb-2222", "NVIDIA Two"), ("GPU-aabb,0", "NVIDIA Two")],
)  # fmt: skip
def test_the_first_visible_card_is_described(found: Any, wanted: str, title: str) -> None:
    assert found("two", CUDA_VISIBLE_DEVICES=wanted)["title"] == title


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [("2", "asks for card '2', which none of 2 is"),
     ("GPU-dddd", "asks for card 'GPU-dddd', which none of 2 is"),
     ("GPU-aa", "asks for card 'GPU-aa', which several are"),
     ("NoDevFiles", "asks for card 'NoDevFiles', which none of 2 is"),
     ("1,1", "names 1 twice")],
)  # fmt: skip
def test_a_card_that_is_not_here_is_no_other(found: Any, wanted: str, reason: str) -> None:
    told = found("two", CUDA_VISIBLE_DEVICES=wanted)
    assert told["device"] == "cpu"
    assert told["reason"] == f"CUDA_VISIBLE_DEVICES {reason}"


def test_a_lost_card_does_not_hide_the_other(found: Any) -> None:
    assert found("one-lost", CUDA_VISIBLE_DEVICES="1")["title"] == "NVIDIA Two"
    assert found("one-lost")["title"] == "NVIDIA Two"


@pytest.mark.parametrize(
    ("mode", "order", "is_said"),
    [("two", {}, False), ("two", {"CUDA_VISIBLE_DEVICES": "1"}, True),
     ("two", {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, True),
     ("two", {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, False),
     ("two", {"CUDA_VISIBLE_DEVICES": "GPU-aabb"}, False),
     ("twins", {"CUDA_VISIBLE_DEVICES": "1"}, False), ("ok", {}, False)],
)  # fmt: skip
def test_how_cards_are_counted_is_said_where_it_matters(
    found: Any, mode: str, order: dict[str, str], is_said: bool
) -> None:
    assert ("CUDA may count otherwise" in found(mode, **order)["reason"]) is is_said


@pytest.mark.parametrize(
    ("used_mib", "visible", "card"),
    [
        (("1000", "9000"), None, "GPU-aaaa-1111"),
        (("9000", "1000"), None, "GPU-aabb-2222"),
        (("9000", "1000"), "0", "GPU-aaaa-1111"),
        (("9000", "1000"), "0,1", "GPU-aabb-2222"),
        (("9000", "1000"), "GPU-aaaa", "GPU-aaaa-1111"),
        (("9000", "1000"), "0,GPU-dddd,1", "GPU-aaaa-1111"),
        (("5000", "5000"), "1,0", "GPU-aabb-2222"),
    ],
)
def test_of_several_cards_the_one_with_most_free_memory_is_taken(
    found: Any, used_mib: tuple[str, str], visible: str | None, card: str
) -> None:
    variables = {"FAKE_USED_MIB": used_mib[0], "FAKE_USED_MIB_2": used_mib[1]}
    variables |= {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    told = found("two", **variables)
    assert told["visible_as"] == card
    is_drawn = visible in {None, "0,1", "1,0"}
    assert ("of 2 cards the one with most free memory" in told["reason"]) is is_drawn


def test_what_others_hold_is_not_usable_and_they_are_named(found: Any) -> None:
    """The card has 12 GiB, of which 0.95 may be filled; another process left three."""
    told = found("ok", FAKE_MIB="12288", FAKE_USED_MIB="9216", FAKE_HOLDER=str(os.getpid()))
    profile = Profile(**{key: told[key] for key in Profile.__dataclass_fields__})
    assert profile.usable_gib == 3.0
    name = psutil.Process().name()
    assert profile.memory_of_others == f"8.4 GiB held by {name}"
    assert found("ok", FAKE_USED_MIB="0")["holders"] == ""
    free = replace(profile, free_gib=12.0)
    assert (free.memory_of_others, free.usable_gib) == ("", pytest.approx(11.4))


_STARTED_ON = """
import json, sys
from workbench import launch
print(json.dumps([launch._card("cuda", sys.argv[1]), launch._card("cpu")]))
"""


@pytest.mark.parametrize(
    ("mode", "preferred", "visible", "card"),
    [
        ("two", "", "", "GPU-aabb-2222"),
        ("two", "GPU-aaaa-1111", "", "GPU-aaaa-1111"),
        ("two", "GPU-gone", "", "GPU-aabb-2222"),
        ("two", "GPU-aabb-2222", "0", "GPU-aaaa-1111"),
        ("mig", "", "", "MIG-cccc-3333"),
        ("mismatch", "", "1,0", "1"),
    ],
)
def test_an_engine_is_handed_one_card_by_name(
    drivers: Path, mode: str, preferred: str, visible: str, card: str
) -> None:
    """A run's own card while it is there, else the freest; where the driver is silent, CUDA's."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CUDA_")}
    env |= {"LD_LIBRARY_PATH": str(drivers / "new"), "FAKE_NVML": mode, "FAKE_USED_MIB": "9000"}
    env |= {"FAKE_USED_MIB_2": "1000"} | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    command = [sys.executable, "-c", _STARTED_ON, preferred]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True, timeout=60)
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    on_card, on_cpu = json.loads(done.stdout)
    assert on_card == {**order, "CUDA_VISIBLE_DEVICES": card}
    assert on_cpu == {"CUDA_VISIBLE_DEVICES": ""}
