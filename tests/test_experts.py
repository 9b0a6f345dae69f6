"""Experts in NF4: loaded one tensor at a time, and trained through as if they were spelled out."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma4ForCausalLM, Gemma4TextConfig
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextExperts

from engine.doctor import tiny_models
from engine.gemma.lora_targets import ATTENTION
from engine.model import lora, nf4
from engine.model.experts import QuantisedExperts
from engine.model.load import Loaded, load
from engine.model.patches.expert_groups import ProductByExpert
from engine.paths import EMBEDDED_WEIGHTS
from engine.recipe.schema import Adapter, Model
from tests import tiny

STACKS = ("gate_up_proj", "down_proj")
TOKENS = torch.arange(5, 69).view(2, 32)


@pytest.fixture
def folder(gemma_folder: Callable[[str], Path]) -> Path:
    """A tiny relative of 26B-A4B."""
    return gemma_folder("gemma4_moe")


def mixtures(model: Any) -> list[QuantisedExperts]:
    return [module for module in model.modules() if isinstance(module, QuantisedExperts)]


def spelled_out(folder: Path) -> Loaded:
    """The same 4-bit model with its experts in float32: transformers' class, dequantised weights.

    Its linear layers stay in 4 bits, so that experts are all the two differ in.
    """
    gemma = tiny.loaded(folder, "nf4")
    whole = tiny.loaded(folder).model
    for name, module in list(gemma.model.named_modules()):
        if isinstance(module, QuantisedExperts):
            experts = whole.get_submodule(name)
            for stack in STACKS:
                weight = getattr(module, stack)
                data = nf4.matrices(weight, 0, module.num_experts)
                setattr(experts, stack, torch.nn.Parameter(data, requires_grad=False))
            gemma.model.set_submodule(name, experts)
    return gemma


def test_every_expert_is_held_in_4_bits(folder: Path) -> None:
    gemma, whole = tiny.loaded(folder, "nf4"), tiny.loaded(folder)
    layers = gemma.model.config.num_hidden_layers
    assert len(mixtures(gemma.model)) == layers
    assert not any(isinstance(module, Gemma4TextExperts) for module in gemma.model.modules())
    experts = whole.model.model.layers[0].experts
    for name in STACKS:
        before, after = getattr(experts, name), getattr(mixtures(gemma.model)[0], name)
        assert after.data.numel() == before.numel() / 2
        found = nf4.matrices(after, 0, len(before))
        assert (found - before).norm() < 0.12 * before.norm()
    assert gemma.model.num_parameters() == whole.model.num_parameters()
    assert f"experts in {layers} layers" in gemma.reasons["quantization"]
    assert "quantization" not in whole.reasons


def test_a_model_without_experts_says_nothing_of_them(
    gemma_folder: Callable[[str], Path],
) -> None:
    gemma = tiny.loaded(gemma_folder("gemma3"), "nf4")
    assert "experts" not in gemma.reasons["quantization"]


def gradients(gemma: Loaded, staging: Path, **training: Any) -> tiny.Gradients:
    kept = tiny.Gradients()
    tiny.trainer(gemma, kept, **training).train()
    return kept


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_learn_as_over_spelled_out_experts(
    checkpointing: bool, folder: Path, tmp_path: Path
) -> None:
    found = gradients(tiny.loaded(folder, "nf4"), tmp_path, gradient_checkpointing=checkpointing)
    expected = gradients(spelled_out(folder), tmp_path)
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        assert (found.gradients[name] - gradient).norm() <= 1e-3 * gradient.norm(), name


def test_an_adapter_is_saved_and_loaded_as_over_any_base(folder: Path, tmp_path: Path) -> None:
    gemma = tiny.loaded(folder, "nf4")
    model = lora.attach(gemma.model, Adapter(r=4, lora_alpha=8), 0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    with torch.no_grad():
        taught = model(TOKENS).logits
        with model.disable_adapter():
            plain = model(TOKENS).logits
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny.loaded(folder, "nf4").model, tmp_path)
    with torch.no_grad():
        assert torch.equal(again(TOKENS).logits, taught)
    assert not torch.allclose(plain, taught, atol=1e-2)


def test_attention_alone_can_be_adapted(folder: Path, tmp_path: Path) -> None:
    """Gradients reach the first layer through every mixture after it."""
    model = lora.attach(
        tiny.loaded(folder, "nf4").model, Adapter(r=2, lora_alpha=4, target_modules=ATTENTION), 0
    )
    model(TOKENS).logits.square().mean().backward()
    first = [p for n, p in model.named_parameters() if "layers.0.self_attn.o_proj.lora_B" in n]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in first)
    assert first


def wide(folder: Path) -> Path:
    """A mixture whose experts are nearly all of its weights, in bfloat16."""
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS)
    torch.manual_seed(0)
    config = Gemma4TextConfig(
        **{**tiny_models.TEXT, "hidden_size": 128},
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        global_head_dim=32,
        enable_moe_block=True,
        num_experts=32,
        top_k_experts=2,
        moe_intermediate_size=128,
        hidden_size_per_layer_input=0,
        num_kv_shared_layers=0,
    )
    return tiny_models.saved(Gemma4ForCausalLM(config).bfloat16(), tokenizer, folder)


def allocated(folder: Path, quantization: str) -> tuple[Any, int]:
    """A model, and what PyTorch's own allocator held at most while it was loaded."""
    choice = Model(path=str(folder), dtype="bfloat16", quantization=quantization)  # type: ignore[arg-type]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        gemma = load(choice, tiny.CPU)
    events = seen.profiler.kineto_results.events()  # type: ignore[union-attr]
    found = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return gemma.model, max(itertools.accumulate(size for _, size in found))


def test_no_16_bit_copy_of_the_experts_is_ever_made(tmp_path: Path) -> None:
    """Beyond the model itself, loading takes less than one stack of experts would in 16 bits."""
    model, peak = allocated(wide(tmp_path), "nf4")
    stacks = [getattr(each, name).data for each in mixtures(model) for name in STACKS]
    of_one_stack, held = 4 * max(data.nbytes for data in stacks), model.get_memory_footprint()
    print(f"{peak / 2**20:.2f} MiB at most, {held / 2**20:.2f} held")
    packed = sum(data.nbytes for data in stacks)
    assert 4 * packed > 2 * held
    assert packed < peak < held + of_one_stack


def test_transformers_alone_would_leave_experts_whole(folder: Path) -> None:
    """Should this fail, the quantizer here has become unnecessary."""
    from engine.model.load import four_bits

    model = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=four_bits(torch.float32), dtype=torch.float32
    )
    assert isinstance(model.model.layers[0].experts, Gemma4TextExperts)


def test_a_product_for_each_expert_is_that_of_the_matrices_of_all_rows() -> None:
    """The CPU's twin of what cards below Hopper take; the first and third expert have no rows."""
    torch.manual_seed(0)
    ranges, experts = [(1, 0, 3), (3, 3, 4)], torch.tensor([1, 1, 1, 3])
    rows = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    stored = torch.randn(5, 6, 5, dtype=torch.float64, requires_grad=True)

    def product(rows: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = ProductByExpert.apply(rows, stored.mT, ranges)
        return out

    expected = torch.einsum("nc,nrc->nr", rows, stored[experts])
    assert torch.allclose(product(rows, stored), expected)
    assert torch.autograd.gradcheck(product, (rows, stored))
    assert torch.autograd.gradcheck(product, (rows, stored.detach()))
    product(rows, stored).sum().backward()
    assert stored.grad is not None
    assert stored.grad.stride() == stored.stride()
    assert [bool(each.any()) for each in stored.grad] == [False, True, False, True, False]
