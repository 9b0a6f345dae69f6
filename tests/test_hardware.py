"""Hardware profiles, and this machine."""

import json
import math
import os
import platform
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from engine.hardware import profiles
from engine.hardware.gpu import Gpu
from engine.hardware.profiles import Profile
from engine.problems import Refusal

FILES = sorted(profiles.PROFILES.rglob("*.toml"))
CARDS = [name for name in profiles.names() if name not in {"auto", "cpu"}]
PROMISED = {
    "rtx-3060-8gb", "rtx-3060-12gb", "rtx-4060-8gb", "rtx-4060-ti-16gb", "rtx-3090", "rtx-4090",
    "rtx-5090", "t4", "l4", "l40s", "a100-40gb", "a100-80gb", "h100-80gb", "h200", "b200",
    "rtx-pro-6000", "gb10", "apple-m", "mi300x",
}  # fmt: skip


def test_this_machine_is_detected() -> None:
    found = profiles.profile("auto")
    assert found.name == "auto"
    assert found.memory_gib > 0.5
    assert found.host_memory_gib == profiles.host_memory_gib()
    assert found.reason
    if found.device != "cpu":
        pytest.skip(f"this machine has a GPU: {found.title}")
    assert "NVIDIA" in found.reason
    assert f"{os.cpu_count()} cores" in found.title
    assert found.memory_gib == profiles.host_memory_gib()
    assert found.tflops == profiles.profile("cpu").tflops


def test_the_promised_cards_are_there() -> None:
    assert set(CARDS) >= PROMISED


def test_profiles_are_those_of_the_files() -> None:
    assert sorted(profiles.names()) == sorted(["auto", *(path.stem for path in FILES)])


def test_names_are_in_order_of_memory() -> None:
    names = profiles.names()
    assert (names[0], names[-1]) == ("auto", "cpu")
    sizes = [profiles.profile(name).memory_gib for name in CARDS if name not in {"apple-m", "gb10"}]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_loads(name: str) -> None:
    found = profiles.profile(name)
    assert found.name == name
    assert found.device in {"cuda", "mps", "cpu"}
    assert 0.5 < found.memory_gib < 1024
    assert 0.5 < found.usable_share < 1
    assert found.usable_gib == pytest.approx(found.memory_gib * found.usable_share)
    assert found.host_memory_gib >= 4 or found.host_memory_gib == profiles.host_memory_gib()
    assert found.title
    assert Profile(**json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize("name", CARDS)
def test_every_card_has_all_figures(name: str) -> None:
    found = profiles.profile(name)
    assert 50 < (found.bandwidth_gb_s or 0) < 10_000
    assert 1 < (found.tflops or 0) < 3_000
    if found.device == "cuda":
        assert 0.02 < (found.float32_tflops or 0) / (found.tflops or 1) <= 0.51
        assert 0.2 <= found.context_gib <= 0.8
        assert found.cublas_workspace_bytes in {8_519_680, 32 << 20, 128 << 20}
    else:
        assert (found.context_gib, found.cublas_workspace_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("card", "in_bfloat16", "in_float16", "in_float32"),
    [
        ("t4", 8.1, 65.0, 8.1), ("rtx-3060-12gb", 25.5, 25.5, 12.7), ("rtx-3090", 71.0, 71.0, 35.6),
        ("rtx-4060-8gb", 30.2, 30.2, 15.1), ("rtx-4090", 165.2, 165.2, 82.6),
        ("rtx-5090", 209.5, 209.5, 104.8), ("l4", 121.0, 121.0, 30.3),
        ("a100-40gb", 312.0, 312.0, 19.5), ("h100-80gb", 989.0, 989.0, 67.0),
        ("b200", 2250.0, 2250.0, 75.0), ("mi300x", 1307.4, 1307.4, 163.4),
        ("apple-m", 8.5, 8.5, 8.5),
    ],
)  # fmt: skip
def test_arithmetic_of_a_card_by_its_type_is_that_of_its_datasheet(
    card: str, in_bfloat16: float, in_float16: float, in_float32: float
) -> None:
    """A T4 has no bfloat16 arithmetic, which goes through float32 there."""
    found = [profiles.profile(card).tflops_in(t) for t in ("bfloat16", "float16", "float32")]
    assert found == [in_bfloat16, in_float16, in_float32]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_says_where_its_figures_come_from(path: Path) -> None:
    lines = path.read_text().splitlines()
    said = "\n".join(line for line in lines if line.startswith("#"))
    assert lines[0].startswith("# memory_gib")
    assert "bandwidth_gb_s" in said
    assert "tflops" in said


@pytest.mark.parametrize(
    ("memory_gib", "profile"),
    [(24.0, "rtx-4090"), (20.5, "rtx-4090"), (27.5, "rtx-4090"), (20.2, None), (27.8, None),
     (12.0, None), (None, None)],
)  # fmt: skip
def test_a_card_is_known_by_its_name_and_about_its_memory(
    memory_gib: float | None, profile: str | None
) -> None:
    """An RTX 4090 has 24564 MiB as its driver tells it: 15 % more or less is still one."""
    card = profiles._profile_of(Gpu("NVIDIA GeForce RTX 4090", memory_gib, (8, 9)))
    assert (card and card.name) == profile


@pytest.mark.parametrize(
    ("name", "memory_gib", "usable_gib"),
    [("rtx-3060-8gb", 8.0, 7.6), ("rtx-4090", 23.99, 22.79), ("apple-m", 24.0, 16.8)],
)
def test_what_a_run_may_fill(name: str, memory_gib: float, usable_gib: float) -> None:
    found = profiles.profile(name)
    assert (round(found.memory_gib, 2), round(found.usable_gib, 2)) == (memory_gib, usable_gib)


@pytest.mark.parametrize(("host_memory_gib", "usable_gib"), [(0.0, math.inf), (64.0, 57.6)])
def test_what_a_run_may_fill_of_a_host(host_memory_gib: float, usable_gib: float) -> None:
    host = replace(profiles.profile("rtx-4090"), host_memory_gib=host_memory_gib)
    assert host.host_usable_gib == usable_gib


def test_no_two_profiles_are_taken_for_each_other() -> None:
    seen: dict[str, list[float]] = {}
    for name in CARDS:
        for driver_name in profiles._file(name)["driver_names"]:
            seen.setdefault(driver_name, []).append(profiles._file(name)["memory_gib"])
    for sizes in seen.values():
        assert all(b / a > 1.35 for a, b in zip(sorted(sizes), sorted(sizes)[1:], strict=False))


def test_a_run_that_was_asked_for_before_there_were_more_figures_can_still_be_read() -> None:
    then = {"name": "cpu", "title": "CPU", "device": "cpu", "memory_gib": 16.0}
    found = Profile(**then, usable_share=0.8, has_bf16=False, reason="")
    assert (found.tflops, found.has_flash, found.cublas_workspace_bytes) == (None, False, 0)
    assert asdict(found).keys() == profiles.profile("cpu").as_dict().keys()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rtx3060", "Did you mean rtx-3060-8gb or rtx-3060-12gb? "),
        ("RTX 4090", "Did you mean rtx-4090? "),
        ("h100", "Did you mean h100-80gb? "),
        ("cpu.toml", "Did you mean cpu? "),
        ("../quickstart", ""),
        ("", ""),
    ],
)
def test_an_unknown_profile_is_refused_with_those_like_it(name: str, meant: str) -> None:
    with pytest.raises(Refusal, match="there is no profile") as refused:
        profiles.profile(name)
    assert refused.value.exit_code == 2
    assert str(refused.value).endswith(f". {meant}gemma-bench hardware lists all")


def test_a_device_that_is_not_here_can_not_be_run_on() -> None:
    if profiles.detect().device != "cpu":
        pytest.skip("this machine has a GPU")
    with pytest.raises(Refusal, match="this machine has no cuda device"):
        profiles.runnable("rtx-4090")
    assert profiles.runnable("cpu").device == "cpu"


def test_shared_memory_is_this_machines_where_this_is_such_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = profiles.profile("gb10")
    here = replace(named, name="auto", memory_gib=100.0)
    monkeypatch.setattr(profiles, "detect", lambda: here)
    assert profiles.profile("gb10").memory_gib == profiles.profile("gb10").host_memory_gib == 100.0
    assert profiles.profile("apple-m").memory_gib == 24.0


@pytest.mark.parametrize(
    ("chip", "title", "bandwidth"),
    [("Apple M4 Pro", "Apple M4 Pro", 273.0), ("Apple M1", "Apple M1", None),
     ("", "Apple silicon", None)],
)  # fmt: skip
def test_apple_silicon_is_named_by_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chip: str, title: str, bandwidth: float | None
) -> None:
    (tmp_path / "sysctl").write_text(f"#!/bin/sh\necho '{chip}'\n")
    (tmp_path / "sysctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    profiles._detected_once.cache_clear()
    try:
        found = profiles.detect()
    finally:
        profiles._detected_once.cache_clear()
    assert (found.name, found.device, found.title) == ("auto", "mps", title)
    assert found.memory_gib == found.host_memory_gib == profiles.host_memory_gib()
    assert (found.bandwidth_gb_s, found.is_unified) == (bandwidth, True)
    assert ("unknown" in found.reason) is (bandwidth is None)
