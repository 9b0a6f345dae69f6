"""A GPU as torch tells it, where the driver's own library can't: with a torch that we made up."""

import json
from pathlib import Path
from typing import Any

import pytest
from detection import detected

from engine.hardware import card_probe, profiles, torch_probe
from engine.hardware.gpu import Absence

FAKE_TORCH = """
import json, os, time
from types import SimpleNamespace

print("a torch that talks")
told = json.loads(os.environ["FAKE_TORCH"])
if told.get("hangs"):
    time.sleep(600)
if told.get("raises"):
    raise OSError("libcudart.so.13: cannot open shared object file")
version = SimpleNamespace(cuda=told.get("cuda"), hip=told.get("hip"))
properties = SimpleNamespace(**told.get("card", {}))
cuda = SimpleNamespace(
    is_available=lambda: "card" in told, get_device_properties=lambda index: properties
)
"""
ONE = {"name": "NVIDIA One", "total_memory": 24 << 30, "major": 8, "minor": 6, "is_integrated": 0}
SPARK = {**ONE, "major": 12, "minor": 1, "is_integrated": 1}
MI300X = {
    "name": "AMD Instinct MI300X", "total_memory": 206_141_652_992, "major": 9, "minor": 4,
    "gcnArchName": "gfx942:sramecc+:xnack-", "is_integrated": 0,
}  # fmt: skip
RADEON = {**MI300X, "name": "AMD Radeon", "total_memory": 16 << 30, "gcnArchName": "gfx1030"}


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose torch says what FAKE_TORCH tells it to."""
    (tmp_path / "site" / "torch").mkdir(parents=True)
    (tmp_path / "site" / "torch" / "__init__.py").write_text(FAKE_TORCH)
    (tmp_path / "dev").mkdir()
    return {"PYTHONPATH": str(tmp_path / "site")}


@pytest.fixture
def found(drivers: Path, tmp_path: Path, fake: dict[str, str]) -> Any:
    """Detects with a driver in some mode, one device file, and a torch that says so and so."""

    def detect(
        says: dict[str, Any], mode: str = "notloaded", node: str = "nvidiactl", **more: str
    ) -> dict[str, Any]:
        if node:
            (tmp_path / "dev" / node).touch()
        variables = {**fake, "FAKE_TORCH": json.dumps(says), "FAKE_NVML": mode, **more}
        return detected(drivers / "new", tmp_path / "dev", **variables)

    return detect


@pytest.mark.parametrize("node", ["nvidiactl", "dxg"])
@pytest.mark.parametrize("mode", ["notloaded", "mismatch", "lost", "hang"])
def test_torch_tells_where_the_driver_can_not(found: Any, mode: str, node: str) -> None:
    told = found({"cuda": "13.0", "card": ONE}, mode, node)
    assert (told["device"], told["title"], told["memory_gib"]) == ("cuda", "NVIDIA One", 24.0)
    assert told["has_flash"]
    assert told["reason"].startswith("the NVIDIA driver ")
    assert "; torch names NVIDIA One with 24.0 GiB; " in told["reason"]


def test_an_amd_card_is_known_by_its_name(found: Any) -> None:
    told = found({"hip": "7.2", "card": MI300X}, node="kfd")
    assert (told["device"], told["title"]) == ("cuda", "AMD Instinct MI300X")
    assert told["memory_gib"] == pytest.approx(191.98, abs=0.01)
    assert told["cublas_workspace_bytes"] == 128 << 20
    assert "those of the profile mi300x" in told["reason"]


@pytest.mark.parametrize(("arch", "is_new"), [("gfx1030", False), ("gfx90a:xnack-", True)])
def test_of_an_unknown_amd_card_its_generation_is_known(
    found: Any, arch: str, is_new: bool
) -> None:
    told = found({"hip": "7.2", "card": {**RADEON, "gcnArchName": arch}}, node="kfd")
    assert (told["has_bf16"], told["has_flash"]) == (is_new, is_new)
    assert told["has_efficient_attention"] is is_new
    assert told["cublas_workspace_bytes"] == 32 << 20
    assert told["tflops"] is None


@pytest.mark.parametrize("name", ["NVIDIA GB10", "NVIDIA Next"])
def test_a_card_that_shares_the_hosts_memory_has_the_hosts(found: Any, name: str) -> None:
    told = found({"cuda": "13.0", "card": {**SPARK, "name": name}})
    assert (told["memory_gib"], told["is_unified"]) == (told["host_gib"], True)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({}, "torch is built for the CPU only"),
        ({"cuda": "13.0"}, "torch sees no GPU"),
        ({"raises": True}, "torch fails: OSError: libcudart.so.13: cannot open"),
    ],
)
def test_where_torch_knows_none_either_both_are_said(
    found: Any, says: dict[str, Any], reason: str
) -> None:
    told = found(says)
    assert told["device"] == "cpu"
    assert told["reason"].startswith(f"the NVIDIA driver fails: Driver Not Loaded; {reason}")


@pytest.mark.parametrize(
    ("mode", "node", "more"),
    [
        ("notloaded", "", {}),
        ("ok", "nvidiactl", {"CUDA_VISIBLE_DEVICES": "-1"}),
        ("ok", "nvidiactl", {"CUDA_VISIBLE_DEVICES": "7"}),
    ],
)
def test_torch_is_not_asked_without_cause(
    found: Any, mode: str, node: str, more: dict[str, str]
) -> None:
    told = found({"cuda": "13.0", "card": ONE}, mode, node, **more)
    assert told["device"] == "cpu"
    assert "torch" not in told["reason"]


def test_the_driver_is_believed_before_torch(found: Any) -> None:
    told = found({"cuda": "13.0", "card": {**ONE, "name": "another"}}, "ok")
    assert told["title"] == "NVIDIA One"
    assert "torch" not in told["reason"]


def test_a_torch_that_hangs_is_given_up(
    fake: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert torch_probe.DEADLINE_S <= 20
    monkeypatch.setattr(torch_probe, "DEADLINE_S", 1.0)
    monkeypatch.setenv("FAKE_TORCH", '{"hangs": true}')
    monkeypatch.setenv("PYTHONPATH", fake["PYTHONPATH"])
    assert torch_probe.find() == Absence("torch gave no answer in 1 s")
    monkeypatch.setattr(card_probe, "DEADLINE_S", 1.0)
    answer = card_probe.answer_of(profiles.profile("rtx-3060-12gb"))
    assert answer.product == "it gave no answer in 1 s"


def test_the_real_torch_answers() -> None:
    told = torch_probe.find()
    if not isinstance(told, Absence):
        pytest.skip(f"this machine has a GPU: {told.name}")
    assert told.reason in {"torch is built for the CPU only", "torch sees no GPU"}
