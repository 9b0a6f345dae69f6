"""A card that torch can't use is refused before anything is made; NVML here is a pretended one."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from engine import installed
from engine.budget.placement import forecast_recipe
from engine.hardware import card_probe, profiles
from engine.hardware.card_probe import CardAnswer
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe import validate
from tests import command
from tests.pretended_card import ROOT
from workbench import launch
from workbench.commands import doctor_machine

CARD = Profile("auto", "NVIDIA One", "cuda", 24.0, 0.95, True, visible_as="GPU-aaaa-1111")
OLD_DRIVER = (
    "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update"
)


def with_card(drivers: Path, **more: str) -> dict[str, str]:
    """An environment in which the driver tells of one card."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CUDA_")}
    return {**env, "LD_LIBRARY_PATH": str(drivers / "new"), "FAKE_NVML": "ok", **more}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this torch can use a card")
def test_a_card_beside_a_torch_for_the_cpu_is_refused_by_run_and_doctor(
    drivers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in with_card(drivers, GEMMA_BENCH_CACHE=str(tmp_path / "cache")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    code, _, err = command.call(folder, "--run", "quickstart", "--out", "run")
    assert code == 2
    assert f"NVIDIA One, but torch {torch.__version__} is built for the CPU only" in err
    assert "pip install --force-reinstall torch --index-url https://download.pytorch.org" in err
    assert "--hardware cpu" in err
    assert [*folder.iterdir()] == []
    code, out, _ = command.call(folder, "doctor", "--fast")
    assert code == 1
    assert "FAIL  the card is one that torch can use" in out
    assert out.count("FAIL") == 1
    settings = ("--hardware", "cpu", "--set", "training.max_steps=1")
    assert command.call(folder, "--run", "quickstart", "--out", "run", *settings)[0] == 0


def test_where_triton_fails_the_engines_head_is_used_and_the_packages_are_named(
    tmp_path: Path,
) -> None:
    """On a processor, which stands in for a card: what is chosen is the same there."""
    why = "RuntimeError: Failed to find C compiler"
    run = launch.propose("quickstart", ["training.max_steps=1"], "cpu", tmp_path / "run").make()
    request = run.read_request()
    run.write_request(replace(request, hardware=replace(request.hardware, why_no_triton=why)))
    launch.start(run)
    command.wait(run.ending.exists)
    (warned,) = (r for r in command.records(run) if r.get("code") == "no_triton")
    assert why in warned["message"]
    assert "apt install gcc python3-dev" in warned["fix"]
    assert "dnf install gcc python3-devel" in warned["fix"]
    assert why in json.dumps(run.read_plan())


def test_the_forecast_counts_the_engines_head_where_triton_fails() -> None:
    recipe = validate.load("gemma3-270m-lora-sft", [], on_paper=True)[0]
    by_trl, own = (
        forecast_recipe(recipe, replace(profiles.profile("rtx-3060-12gb"), why_no_triton=why))
        for why in ("", "RuntimeError: Failed to find C compiler")
    )
    assert (by_trl.step.has_own_head, own.step.has_own_head) == (False, True)
    assert not own.step.has_fused_lora


@pytest.mark.parametrize(
    ("answer", "needs_nf4", "words"),
    [
        (CardAnswer("2.13.0", "13.0"), True, ""),
        (CardAnswer("2.13.0", "13.0", OLD_DRIVER), False,
         r"its driver 580\.65 is too old for torch's CUDA 13\.0.*driver 580 or newer"),
        (CardAnswer("2.9.0", "12.8", OLD_DRIVER), False, "driver 525 or newer"),
        (CardAnswer("2.13.0+cpu", ""), False, ""),
        (CardAnswer("2.13.0+cpu", "", "AssertionError: not compiled"), False, "for the CPU only"),
        (CardAnswer("2.13.0", "13.0", "AcceleratorError: no kernel image"), False,
         "can't compute on it: AcceleratorError: no kernel image"),
        (CardAnswer("2.13.0", "13.0", nf4="RuntimeError: no library"), True,
         "bitsandbytes can't store weights in NF4 on NVIDIA One: RuntimeError: no library"),
        (CardAnswer("2.13.0", "13.0", nf4="RuntimeError: no library"), False, ""),
        (CardAnswer("2.13.0", "13.0", triton="no C compiler"), True, ""),
    ],
)  # fmt: skip
def test_a_refusal_names_what_mends_it(answer: CardAnswer, needs_nf4: bool, words: str) -> None:
    if not words:
        card_probe.require(answer, CARD, "580.65", needs_nf4=needs_nf4)
        return
    with pytest.raises(Refusal, match=f"(?s){words}"):
        card_probe.require(answer, CARD, "580.65", needs_nf4=needs_nf4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
def test_what_worked_is_known_for_its_versions_and_what_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEMMA_BENCH_CACHE", str(tmp_path))
    works = CardAnswer("2.13.0", "13.0")
    path = tmp_path / card_probe.ANSWERS_FILE
    path.write_text(json.dumps({card_probe.key_of(CARD): asdict(works)}))
    assert card_probe.answer_of(CARD) == works
    another = replace(CARD, visible_as="GPU-aabb-2222")
    assert card_probe.key_of(another) != card_probe.key_of(CARD)
    assert card_probe.answer_of(another).product
    assert [*json.loads(path.read_text())] == [card_probe.key_of(CARD)]
    path.write_text("{broken")
    assert card_probe.answer_of(CARD).product


KEYS = """
import json, os, sys
from dataclasses import replace
from engine.hardware import card_probe, profiles
card = replace(profiles.profile("l4"), visible_as="GPU-aaaa-1111")
for driver in ("580.65", "590.1"):
    os.environ["FAKE_DRIVER"] = driver
    print(card_probe.key_of(card))
print(card_probe.key_of(profiles.profile("apple-m")))
"""


def test_an_answer_holds_for_a_driver_a_card_and_the_versions(drivers: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEYS], cwd=ROOT, env=with_card(drivers), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    versions = " ".join(map(installed.version, ("torch", "bitsandbytes", "triton")))
    assert torch.__version__.partition("+")[0] in versions
    assert done.stdout.splitlines() == [
        f"580.65 GPU-aaaa-1111 {versions}", f"590.1 GPU-aaaa-1111 {versions}",
        f"{platform.mac_ver()[0]} mps {versions}",
    ]  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
def test_the_probe_says_what_went_wrong_with_each_part() -> None:
    def answer_on(device: str) -> CardAnswer:
        line = [sys.executable, "-P", "-m", "engine.kernels.probe", device]
        done = subprocess.run(line, capture_output=True, check=True, timeout=120)
        return CardAnswer(**json.loads(done.stdout))

    answer = answer_on("cuda")
    assert (answer.torch, answer.cuda) == (torch.__version__, torch.version.cuda or "")
    assert answer.product == answer.nf4 == answer.triton != ""
    # A processor goes the way of Apple's GPUs: it multiplies in bfloat16 too, and no more.
    works = answer_on("cpu")
    assert (works.product, works.nf4, works.triton) == ("", "", "")


ON_A_MAC = """
import platform, sys
platform.system, platform.machine = (lambda: "Darwin"), (lambda: "arm64")
from workbench.cli import main
from workbench.commands import doctor_machine
print(*(f"{one.name}: {one.advice}" for one in doctor_machine.findings() if not one.passed))
sys.exit(main(["--run", "quickstart", "--out", "run"]))
"""


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_an_apple_gpu_that_torch_can_not_use_is_refused_by_run_and_doctor(
    drivers: Path, tmp_path: Path
) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "here"
    folder.mkdir()
    env = with_card(drivers, FAKE_NVML="none", GEMMA_BENCH_CACHE=str(cache), PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", ON_A_MAC], cwd=folder, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"this machine has Apple silicon, but torch {torch.__version__} can't" in done.stderr
    for said in (done.stdout, done.stderr):
        assert "update macOS, or train on the processor: --hardware cpu" in said
    assert done.stdout.startswith("the card is one that torch can use: this machine has Apple")
    assert [*folder.iterdir()] == [], "nothing is made"
    assert not cache.exists(), "and what fails is tried again"


def test_an_apple_gpu_that_works_is_tried_for_nothing_else() -> None:
    mac = profiles.profile("apple-m")
    (finding,) = doctor_machine.of_card(mac, CardAnswer("2.13.0"))
    assert (finding.passed, finding.advice) == (True, "")
