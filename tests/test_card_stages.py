"""The one command for a card, whole on the pretended one; and stages that fail or take too long."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.hardware import card_examination
from engine.hardware.profiles import Profile
from tests import command, pretended_card
from tests.pretended_card import ROOT

CARD = Profile("auto", "NVIDIA One", "cuda", 2.0, 0.95, True, visible_as="GPU-aaaa-1111")
USED_MIB = 1748
"""Of 2048: what is free then is filled by eight rows."""


def test_the_whole_examination_on_the_pretended_card(drivers: Path, tmp_path: Path) -> None:
    environment = pretended_card.built(tmp_path)
    variables = {
        **environment(mib=2048, used_mib=USED_MIB), "LD_LIBRARY_PATH": str(drivers / "new"),
        "FAKE_NVML": "ok", "FAKE_MIB": "2048", "FAKE_USED_MIB": str(USED_MIB),
        "GEMMA_BENCH_CACHE": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data"),
    }  # fmt: skip
    variables.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "gpu.py", "--minutes", _three_minutes(),
         "--out", "out"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == (tmp_path / "out" / "results.jsonl").read_text(), done.stderr
    records = {record["stage"]: record for record in map(json.loads, done.stdout.splitlines())}
    assert [*records] == [*card_examination.STAGES]
    failed = {name: one for name, one in records.items() if one["status"] != "passed"}
    assert (done.returncode, failed) == (0, {})
    parts = {name: _by_case(record) for name, record in records.items()}
    facts = parts["facts"][""]
    assert (facts["card"], facts["capability"]) == ("Pretended Card", "8.6")
    assert facts["triton"] != "works"
    assert facts["models"] == "tiny"
    assert facts["held_by_others"]
    for case in ("embedded, NF4", "embedded, host tables", "golden figures in float32"):
        assert parts["correctness"][case]["figure"] <= parts["correctness"][case]["limit"]
    kernels = {
        case.partition("keys, ")[2]: part["kernel"] for case, part in parts["attention"].items()
    }
    assert kernels == {
        "causal, bfloat16": "flash", "masked, bfloat16": "efficient",
        "causal, float32": "math", "masked, float32": "efficient",
    }  # fmt: skip
    memory = parts["memory"]["embedded"]
    assert 0 < memory["allocated_gib"] <= memory["forecast_allocated_gib"]
    stock, own = (parts["speed"][name] for name in ("TRL's SFTTrainer", "engine"))
    assert own["first_loss"] == pytest.approx(stock["first_loss"], rel=5e-3)
    assert min(stock["tokens_per_s"], own["tokens_per_s"]) > 0
    killed = parts["failures"]["killed, and resumed"]
    assert (killed["exit_code"], killed["resumed_from"]) == (-9, 3)
    assert killed["steps_taken_twice"] == [4, 5]
    assert parts["failures"]["out of memory, and retried"]["retries"] == 1


def _three_minutes() -> str:
    """More where other processes have the cores: of all stages 45 s are a processor's."""
    return f"{3 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)):.1f}"


def _by_case(record: dict[str, Any]) -> dict[str, Any]:
    return {part.get("case", ""): part for part in record["parts"]}


def test_a_stage_that_fails_or_takes_too_long_says_so_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor stands in for a card that fails at its first use; the first has no time."""
    monkeypatch.setattr(card_examination, "_LEAST_S", 0.0)
    monkeypatch.setattr(card_examination, "STAGES", {"facts": 0.0, "none": 1.0, "attention": 1.0})
    records = [*card_examination.examine(CARD, 10, tmp_path / "out")]
    assert [record["status"] for record in records] == ["out of time", "failed", "failed"]
    assert "No module named 'engine.card_stages.none'" in records[1]["error"]
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert [*map(json.loads, lines)] == records
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results.jsonl", "facts.log", "none.log", "attention.log"
    }  # fmt: skip


def test_without_a_card_it_says_so_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, out, err = command.call(tmp_path, "doctor", "--gpu")
    assert (code, out, os.listdir(tmp_path)) == (2, "", [])
    assert "no NVIDIA or AMD card" in err
    assert "CUDA_VISIBLE_DEVICES hides every GPU" in err
    assert command.call(tmp_path, "doctor", "--gpu", "--minutes", "0")[0] == 2
