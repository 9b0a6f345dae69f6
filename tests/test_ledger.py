"""The ledger against simulated steps: drawn at random, over every variant and every choice."""

import json
import statistics
from dataclasses import replace
from typing import Any

import pytest

from engine.budget import forecast
from engine.budget.ledger import persistent
from engine.budget.ledger.step_peak import peak_of_step
from engine.budget.placement import resolved_step
from engine.budget.step_shape import StepShape
from engine.gemma import catalog
from engine.gemma.lora_targets import ATTENTION
from engine.hardware.profiles import profile
from engine.recipe.schema import Recipe
from engine.units import GIB
from tests import simulate_steps
from tests.simulate_steps import as_record, from_record, simulate
from tools.simulator.configuration import configuration, source
from tools.simulator.depth import cuts
from tools.simulator.report import answer

RECORDED = json.loads(simulate_steps.RECORDED.read_text())
AGAIN = (12, 33, 35)
"""Of the recorded steps: simulated again each time, so that the record can't grow stale.

In 16 and in 4 bits, with DoRA, dropout and experts, and without checkpoints. The nightly ledger
takes any of them.
"""


def ledger_gib(step: StepShape) -> float:
    card = profile("l40s")
    return forecast.forecast(catalog.variant_of(step.model), step, card).allocated.expected


def test_the_ledger_follows_the_simulation() -> None:
    """Steps drawn at random once; `bench/nightly/ledger.py` draws others every day."""
    sizes, checkpointed = [], []
    for known in RECORDED:
        step = from_record(known["step"])
        error = ledger_gib(step) / known["allocated_gib"] - 1
        sizes.append(abs(error))
        if step.gradient_checkpointing:
            checkpointed.append(error)
    print(f"median {100 * statistics.median(sizes):.4f} %, worst {100 * max(sizes):.2f} %")
    assert len(sizes) == 44
    assert statistics.median(sizes) <= 0.005
    assert max(sizes) <= 0.04
    assert min(checkpointed) >= -0.01


@pytest.mark.slow
def test_recorded_steps_are_still_simulated_so() -> None:
    for known in (RECORDED[index] for index in AGAIN):
        anew = simulate(known["step"])["allocated_gib"]
        assert anew == pytest.approx(known["allocated_gib"], rel=1e-4)


def test_the_allocators_slack_is_that_of_simulated_steps() -> None:
    """The simulator's model of CUDA's allocator is held against an L40S in
    test_published_memory.py."""
    shares = sorted(
        (known["reserved_gib"] - known["allocated_gib"]) / known["passing_gib"]
        for known in RECORDED
    )
    likely, most = forecast._SLACK_SHARE, forecast._MOST_SLACK_SHARE
    assert likely == pytest.approx(statistics.median(shares), abs=0.05)
    assert most == pytest.approx(shares[len(shares) * 9 // 10], abs=0.05)


UPPER, ODD = r".*layers\.[345]\..*", r".*layers\.\d*[13579]\.(self_attn|mlp)\..*"


def test_the_ledger_follows_an_expression() -> None:
    """Layers of one shape differ in what is adapted, and those below the first keep nothing."""
    cases = [
        StepShape(model="embedded", target_modules=UPPER, r=512, gradient_checkpointing=False),
        StepShape(model="embedded", target_modules=ODD, r=512),
    ]
    for case in cases:
        told = simulate(as_record(case))["allocated_gib"]
        assert ledger_gib(case) == pytest.approx(told, rel=0.005, abs=0.001)


def test_a_step_with_an_expression_is_simulated_whole() -> None:
    deep = configuration(source("gemma-3-4b"))
    assert cuts(deep, StepShape(model="gemma-3-4b"))
    assert cuts(deep, StepShape(model="gemma-3-4b", target_modules=ODD)) is None


def test_adapted_experts_are_counted() -> None:
    """Weights, gradients that accumulate, and two moments of Adam, in float32."""
    model, adapter = {"path": "google/gemma-4-26B-A4B-it"}, {"target_modules": ["q_proj"]}
    held = []
    for target_experts in (False, True):
        document = {
            "model": model,
            "adapter": {**adapter, "target_experts": target_experts},
            "data": {"sources": [{"path": "rows.jsonl"}]},
            "training": {"gradient_accumulation_steps": 2},
        }
        case = resolved_step(Recipe.model_validate(document), profile("l40s"))
        held.append(sum(persistent.on_device(catalog.variant_of(case.model), case).values()))
    assert held[1] - held[0] == 29_736_960 * 16 * 4 * 4


PADDED = {"batch": 2, "length": 512, "restarts": True}
RADEON = {"has_flash": False, "has_efficient_attention": False, "has_triton": False}


@pytest.mark.parametrize(
    ("device", "choices", "share"),
    [
        ("cpu", {"dtype": "float32", "supervised_tokens": 300}, 0.02),
        ("cpu", {"gradient_checkpointing": False}, 0.02),
        ("mps", {"dtype": "float32"}, 0.001),
        ("mps", {"supervised_tokens": 300, "lora_dropout": 0.05}, 0.001),
        ("mps", {"gradient_checkpointing": False, "restarts": False, "length": 1024}, 0.001),
        ("cuda", {"dtype": "float32", "cublas_workspace_bytes": 0, **RADEON}, 0.001),
    ],
)
def test_the_ledger_follows_the_simulation_where_the_head_is_the_engines(
    device: Any, choices: dict[str, Any], share: float
) -> None:
    """On a CPU, and as on Apple's GPUs and Radeon cards, where attention keeps all scores."""
    case = StepShape(**{"model": "gemma-3-270m", "device": device, **PADDED, **choices})
    shape = catalog.variant_of(case.model)
    counted = peak_of_step(shape, case).size_bytes + sum(persistent.on_device(shape, case).values())
    found = answer(configuration(source(case.model)), case)
    assert found.missing == []
    assert counted / GIB == pytest.approx(found.allocated_gib, rel=share)


def test_apples_gpus_have_a_head_and_scores() -> None:
    """One row of 4,096 tokens of E2B; the head of one of 512 takes what it takes on a CPU."""
    shape = catalog.variant_of("gemma-4-E2B")
    apple = profile("apple-m")
    long = StepShape(model=shape.name, length=4096, restarts=True, device="mps", has_flash=False)
    card = replace(long, device="cuda", has_flash=True)
    of_card = forecast.forecast(shape, card, apple).allocated.expected
    assert forecast.forecast(shape, long, apple).allocated.expected > of_card + 0.5
    heads = [
        peak_of_step(shape, StepShape(model=shape.name, length=512, device=device)).parts
        for device in ("mps", "cpu")
    ]
    assert heads[0].get("head") == heads[1].get("head")


CASE = StepShape(model="gemma-3-4b", length=1024)


def changed(**fields: Any) -> float:
    return ledger_gib(StepShape(**{**CASE.as_dict(), **fields}))


@pytest.mark.parametrize(
    ("fields", "is_more"),
    [
        ({"length": 2048}, True),
        ({"batch": 2, "restarts": True}, True),
        ({"r": 64}, True),
        ({"method": "dora"}, True),
        ({"gradient_checkpointing": False}, True),
        ({"quantization": "nf4"}, False),
        ({"optim": "adamw_8bit"}, False),
        ({"optim": "sgd"}, False),
        ({"supervised_tokens": 8}, False),
        ({"target_modules": ("q_proj",)}, False),
    ],
)
def test_what_needs_more_needs_more(fields: dict[str, Any], is_more: bool) -> None:
    assert (changed(**fields) > ledger_gib(CASE)) is is_more


def test_nothing_is_held_once_a_walk_is_over() -> None:
    """What is left over would be counted into the next moment of a longer walk."""
    shape = catalog.variant_of("gemma-4-E2B")
    walk = peak_of_step.__wrapped__
    step = StepShape(model="gemma-4-E2B")
    assert walk(shape, step) == walk(shape, step)


def test_experts_in_blocks_of_128() -> None:
    """11.30 GiB, as the makers of a published 26B-A4B adapter state."""
    case = StepShape(model="gemma-4-26B-A4B", expert_block_size=128, double_quantization=False)
    held = persistent.on_device(catalog.variant_of(case.model), case)
    total = held["experts"] + held["quantisation state"]
    assert total / GIB == pytest.approx(11.30, abs=0.005)


def test_a_recipe_in_4_bits_counts_its_experts_so() -> None:
    """46 GiB as transformers and bitsandbytes load it alone."""
    card = profile("l40s")
    data, model = {"sources": [{"path": "rows.jsonl"}]}, {"path": "google/gemma-4-26B-A4B-it"}
    held = {
        bits: forecast.forecast(
            catalog.variant_of(model["path"]),
            resolved_step(
                Recipe.model_validate({"data": data, "model": {**model, "quantization": bits}}),
                card,
            ),
            card,
        ).allocated.expected
        for bits in ("none", "nf4")
    }
    assert held["none"] > 48
    assert held["nf4"] < 17


@pytest.mark.parametrize(("length", "limit_gib"), [(512, 15.5), (4096, 17.5)])
def test_a_part_of_the_experts_is_spelled_out_at_a_time(length: int, limit_gib: float) -> None:
    """All of a layer's would be 1.4 GiB in bfloat16."""
    case = StepShape(
        model="gemma-4-26B-A4B", quantization="nf4", expert_block_size=64, length=length,
        target_modules=ATTENTION,
    )  # fmt: skip
    assert ledger_gib(case) < limit_gib


def test_tables_in_host_memory_are_counted_there() -> None:
    shape = catalog.variant_of("gemma-4-E2B")
    here, there = (StepShape(model=shape.name, tables_on_host=there) for there in (False, True))
    table = persistent.on_device(shape, here)["per-layer embeddings"]
    assert "per-layer embeddings" not in persistent.on_device(shape, there)
    assert persistent.on_host(shape, there) - persistent.on_host(shape, here) == table
    assert table / GIB == pytest.approx(4.375, abs=0.001)


def test_images_and_answers_can_be_the_highest_moment() -> None:
    card, shape = profile("l40s"), catalog.variant_of("gemma-3-4b")
    seen = StepShape(model=shape.name, length=256, images=8, supervised_tokens=8)
    assert forecast.forecast(shape, seen, card).peak_moment == "images"
    told = StepShape(model=shape.name, length=16, generates_tokens=8192, supervised_tokens=8)
    assert forecast.forecast(shape, told, card).peak_moment == "sampling"


def test_every_known_variant_has_a_configuration_to_simulate() -> None:
    assert all(source(name)["model_type"] for name in catalog.names())
