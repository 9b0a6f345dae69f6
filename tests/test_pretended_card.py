"""Every kind of recipe on a CUDA card that is not there: equal to the CPU, and not kept waiting.

No kernel of CUDA runs, and no time is measured. What is asserted of a card holds on a real one:
which tensors lie where, what the host waits for, and how many kernels it launches.
"""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.run.rundir import RunDir
from tests import command, pretended_card
from tests.pretended_card import ROOT, Environment, walk

NAMES = [(case.kind, case.name) for case in walk.CASES]
KERNELS = {
    ("embedded", "padded"): 2480, ("embedded", "accumulated"): 15_600,
    ("embedded", "checkpointed"): 3110, ("embedded", "packed"): 2490, ("embedded", "8 bits"): 2040,
    ("embedded", "paged"): 1460, ("embedded", "DoRA"): 3580, ("embedded", "NF4"): 2660,
    ("embedded", "bfloat16"): 3000, ("embedded", "host tables"): 2480,
    ("gemma3", "padded"): 1780, ("gemma3", "NF4, bfloat16"): 2140,
    ("gemma4_moe", "padded"): 2420, ("gemma4_moe", "NF4"): 2580,
    ("gemma4_moe", "NF4, checkpointed"): 3300, ("gemma4_moe", "NF4, bfloat16, Hopper"): 2810,
    ("gemma4_moe", "adapted experts"): 2730,
    ("gemma4_multimodal", "host tables"): 1740, ("gemma4_large", "padded"): 1780,
    ("gemma4_unified", "padded"): 1870, ("seer of gemma3", "images"): 1880,
    ("seer of gemma4", "images"): 2010,
}  # fmt: skip
"""Upper bounds for a step, 2 % above what was counted with torch 2.13 and transformers 5.23."""
WAITS = 12
"""Of a step: masks that are looked through, tokens that are selected, figures that are read."""
MORE_WAITS = {
    ("embedded", "accumulated"): 8 * 9 - 9,
    ("embedded", "paged"): 12 + 1,
    # Below Hopper each of 4 layers waits for its groups' ends once, for all products forward and
    # backward, and once more where it is computed again.
    ("gemma4_moe", "padded"): 4, ("gemma4_moe", "NF4"): 4, ("gemma4_moe", "NF4, checkpointed"): 8,
    ("gemma4_moe", "adapted experts"): 4,
    ("seer of gemma3", "images"): 5, ("seer of gemma4", "images"): 8,
}  # fmt: skip


FLASH = {
    ("embedded", "bfloat16"): 6, ("gemma3", "NF4, bfloat16"): 2,
    ("gemma4_moe", "NF4, bfloat16, Hopper"): 2,
}  # fmt: skip
"""Layers through flash attention: in 16 bits, where rows end within the window.

In float32 nothing fused takes shared keys, and padding is a row of its own, which is masked.
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return pretended_card.built(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def walked(environment: Environment) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What each case came to with one card and two; all of them in one process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretended_card.walk"], cwd=ROOT, env=environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {(record["kind"], record["case"], record["cards"]): record for record in records}


@pytest.mark.parametrize("cards", [1, 2], ids=["one card", "one of two cards"])
@pytest.mark.parametrize("name", NAMES, ids=" ".join)
def test_two_steps_on_the_card_are_those_of_the_cpu(
    name: tuple[str, str], cards: int, walked: dict[tuple[str, str, int], dict[str, Any]]
) -> None:
    record = walked[*name, cards]
    assert len(record["losses"]) == 2
    assert record["losses"][1] < record["losses"][0]
    is_whole = "bfloat16" not in name[1]
    assert record["losses"] == pytest.approx(
        record["losses_of_cpu"], rel=1e-5 if is_whole else 5e-3
    )
    # Of the second step, after Adam's first has made much of little.
    assert record["difference"] <= (5e-3 if is_whole else math.inf)
    counts = record["counts"]
    assert counts.get("flash attention", 0) == FLASH.get(name, 0)
    assert counts["kernels"] <= KERNELS[name]
    assert counts["waits"] <= WAITS + MORE_WAITS.get(name, 0), counts


def test_what_the_card_itself_does(environment: Environment) -> None:
    """Without these the cases above would pass on anything."""
    source = Path(__file__).with_name("pretended_card") / "trial.py"
    done = subprocess.run(
        [sys.executable, source], env=environment(mib=1, cards=2, capability="9.0"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_whole_run_has_one_of_two_cards_and_goes_on_with_what_it_can_do_by_then(
    environment: Environment, drivers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        **environment(cards=2), "LD_LIBRARY_PATH": str(drivers / "new"), "FAKE_NVML": "two",
        "FAKE_USED_MIB": "20000", "FAKE_USED_MIB_2": "2000",
        "GEMMA_BENCH_CACHE": str(tmp_path / "cache"),
        "GEMMA_BENCH_FAIL": "checkpoint.written:kill@2",
    }  # fmt: skip
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    run = RunDir(tmp_path / "run")
    started = command.start(tmp_path, "--run", "quickstart", "--out", "run", *command.SHORT)
    command.wait(lambda: command.records(run) or started.poll() is not None)
    variables = Path(f"/proc/{command.records(run)[0]['pid']}/environ").read_bytes().split(b"\0")
    assert b"CUDA_VISIBLE_DEVICES=GPU-aabb-2222" in variables
    assert command.finish(started)[0] == 1
    request = run.read_request()
    why = request.hardware.why_no_triton
    assert (request.hardware.device, bool(why)) == ("cuda", True)
    # As if it had been tried where Triton worked.
    run.write_request(replace(request, hardware=replace(request.hardware, why_no_triton="")))
    monkeypatch.delenv("GEMMA_BENCH_FAIL")
    monkeypatch.setenv("FAKE_DRIVER", "590.1")
    code, _, err = command.call(tmp_path, "resume", "run")
    assert (code, run.read_request()) == (0, request), err
    records = command.records(run)
    (resumed,) = (record for record in records if record["kind"] == "resumed")
    assert resumed["step"] == 3
    assert "driver 580.65 became torch" in resumed["exactness"]
    assert "driver 590.1" in resumed["exactness"]
    assert [why in r["message"] for r in records if r.get("code") == "no_triton"] == [True, True]
    assert records[-1]["steps"] == 6


def test_paged_moments_are_paged_again_once_a_run_goes_on(environment: Environment) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretended_card.paged"], cwd=ROOT, env=environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(done.stdout.splitlines()[-1])
    whole, resumed = record["paged"]
    assert whole == resumed > 0
    assert record["losses"][0] == record["losses"][1]
