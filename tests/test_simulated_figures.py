"""Whole models of every variant, simulated: their sizes, known figures, and the quick answer."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.budget.step_shape import StepShape
from engine.gemma import catalog
from engine.gemma.lora_targets import ATTENTION, MLP
from engine.units import GIB
from tools.simulator import build, components, depth, patches, report, step
from tools.simulator.configuration import configuration, source
from tools.simulator.patches import StandIn
from tools.simulator.tracker import Tracker

GB = 10**9
CONTEXT_GIB = 0.5
"""What both cards below add for CUDA itself."""
PARAMETERS = {
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 4_300_079_472,
    "gemma-3-12b": 12_187_325_040,
    "gemma-3-27b": 27_432_406_640,
    "gemma-4-e2b": 5_104_297_504,
    "gemma-4-e4b": 7_941_100_832,
    "gemma-4-12b": 11_957_000_000,
    "gemma-4-26b-a4b": 25_805_933_872,
    "gemma-4-31b": 31_273_086_512,
}


def text_only(name: str) -> Any:
    """The configuration of a variant's language model alone."""
    return configuration(source(name)).get_text_config()


def whole_logits(model: Any, batch: step.Batch, tracker: Tracker, case: StepShape) -> torch.Tensor:
    """The loss of a trainer without a fused head."""
    with step.autocast(case):
        loss: torch.Tensor = model(
            input_ids=batch["input_ids"], labels=batch["labels"], use_cache=False
        ).loss
    return loss


def test_every_variant_is_there() -> None:
    assert {name.lower() for name in catalog.names()} == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_variant_has_its_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(source(f"google/{name}-it")))
    model.tie_weights()
    held = sum(parameter.numel() for parameter in model.parameters())
    assert held == pytest.approx(PARAMETERS[name], rel=1e-3 if name == "gemma-4-12b" else 0)


@pytest.fixture(scope="module")
def experts_in_4bit() -> Tracker:
    """26B-A4B on an RTX 3090 as its makers ran it: NF4 experts, all else in bfloat16."""
    case = StepShape(
        model="", length=512, expert_block_size=128, double_quantization=False,
        target_modules=ATTENTION, optim="adamw_8bit",
    )  # fmt: skip
    model = build.skeleton(text_only("gemma-4-26b-a4b"), case)
    return step.trace(model, case, whole_logits, lambda: None).tracker


def test_experts_of_26b_in_blocks_of_128(experts_in_4bit: Tracker) -> None:
    _, high = experts_in_4bit.high()
    held = components.of_blocks(experts_in_4bit.live_at(high.position), StepShape(model=""))
    experts = held["experts"] + held["quantisation state"]
    assert experts / GIB == pytest.approx(11.30, abs=0.005)


def test_the_peak_of_26b_with_experts_in_4bit(experts_in_4bit: Tracker) -> None:
    """18.4 GB on its card (AndriejusNak/gemma4-26b-moe-finetune)."""
    _, high = experts_in_4bit.high()
    print(f"{high.allocated_bytes / GIB:.2f} GiB allocated")
    assert high.allocated_bytes / GIB + CONTEXT_GIB == pytest.approx(18.4, rel=0.03)


def test_the_peak_of_12b_in_4bit() -> None:
    """About 15 GB at two sequences of 4,096 tokens and rank 32, text only."""
    case = StepShape(
        model="", quantization="nf4", r=32, batch=2, length=4096, target_modules=ATTENTION + MLP,
        optim="adamw_8bit",
    )  # fmt: skip
    given = report.answer(text_only("gemma-3-12b"), case)
    total_gb = (given.allocated_gib + CONTEXT_GIB) * GIB / GB
    print(f"{total_gb:.2f} GB")
    assert total_gb == pytest.approx(15, rel=0.05)


@pytest.mark.parametrize(("name", "layers"), [("gemma-3-12b", 24), ("gemma-4-31b", 36)])
@pytest.mark.slow
def test_two_shallow_models_tell_of_the_whole_one(name: str, layers: int) -> None:
    """`bench/nightly/ledger.py` does it with all layers of the deepest."""
    case = StepShape(model=name, quantization="nf4", length=1024, target_modules=ATTENTION + MLP)
    config = depth.shortened(text_only(name), layers)
    quick, whole = (report.answer(config, case, whole_depth=is_whole) for is_whole in (False, True))
    assert (quick.depth, whole.depth) == ("extrapolated", "whole")
    assert quick.allocated_gib == pytest.approx(whole.allocated_gib, rel=1e-4)
    assert quick.reserved_gib == pytest.approx(whole.reserved_gib, rel=0.02)
    assert quick.peak_moment == whole.peak_moment


def test_layers_that_differ_are_all_simulated() -> None:
    """E2B's last layers are twice as wide; without checkpoints every kind keeps its own."""
    case = StepShape(model="gemma-4-31b")
    assert depth.cuts(configuration(source("gemma-4-e2b")), case) is None
    kept = StepShape(model="gemma-4-31b", gradient_checkpointing=False)
    assert depth.cuts(configuration(source("gemma-4-31b")), case) is not None
    assert depth.cuts(configuration(source("gemma-4-31b")), kept) is None


SMALL = StepShape(model="embedded", length=64, target_modules=ATTENTION + MLP)


def held_gib(**changed: Any) -> tuple[dict[str, float], report.Answer]:
    case = StepShape(**{**SMALL.as_dict(), **changed})
    given = report.answer(configuration(source("embedded")), case)
    return {row["part"]: row["gib"] * GIB for row in given.rows}, given


def test_tables_in_host_memory_leave_the_card() -> None:
    here, there = held_gib()[0], held_gib(tables_on_host=True)[0]
    assert here["per-layer embeddings"] > 0
    assert "per-layer embeddings" not in there


@pytest.mark.parametrize(
    ("optim", "bytes_per_parameter"),
    [("adamw_torch", 8), ("paged_adamw_32bit", 8), ("adamw_8bit", 2), ("sgd", 0)],
)
def test_an_optimizer_holds_its_state(optim: str, bytes_per_parameter: int) -> None:
    """8-bit state keeps float32 scales of its own, and small tensors whole."""
    case = StepShape(**{**SMALL.as_dict(), "optim": optim, "r": 128})
    tracker = step.simulate(configuration(source("embedded")), case).tracker
    setup = next(high for moment, high in tracker.highs.items() if moment.doing == "setup")
    held = components.of_blocks(tracker.live_at(setup.position), case)
    assert held.get("optimizer", 0) == pytest.approx(
        bytes_per_parameter * held["LoRA"] / 4, rel=0.1
    )


def test_dora_holds_more_than_lora() -> None:
    lora, dora = (held_gib(method=method)[1].allocated_gib for method in ("lora", "dora"))
    assert dora > lora


def test_a_function_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL without the function whose tile is left out: the figures are there, and say so."""
    usual = patches.of_case
    gone = StandIn("trl.kernels.chunked_logprob", "_tile_of_another_release", lambda _: None)
    monkeypatch.setattr(patches, "of_case", lambda case: [*usual(case), gone])
    case = StepShape(model="embedded", length=64, target_modules=ATTENTION)
    given = report.answer(configuration(source("embedded")), case)
    assert given.missing == ["trl.kernels.chunked_logprob._tile_of_another_release"]
    assert given.allocated_gib


def test_what_was_replaced_is_put_back() -> None:
    case = StepShape(model="")
    before = [getattr(patches._owner(s.module), s.name) for s in patches.of_case(case)]
    with pytest.raises(KeyError), patches.replaced(patches.of_case(case)):
        raise KeyError
    after = [getattr(patches._owner(s.module), s.name) for s in patches.of_case(case)]
    assert all(one is other for one, other in zip(before, after, strict=True))
