"""Kernels of the engine's own equal the plain operations they stand for, gradients included."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from engine.budget.step_shape import StepShape
from engine.hardware import kernel_choice
from engine.hardware.profiles import Profile
from engine.kernels import head, linear
from engine.model import lora
from engine.model.patches.fused_lora import FusedLoraLinear, use_fused_lora
from engine.paths import EMBEDDED_WEIGHTS
from engine.recipe.schema import Adapter
from tests import tiny

WIDTH, VOCABULARY = 12, 50


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few tokens and rows lie in several tiles, the last of them partly filled."""
    monkeypatch.setattr(head, "TILE_TOKENS", 4)
    monkeypatch.setattr(head, "TILE_VOCABULARY", 16)


def drawn(tokens: int, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> tuple[
    torch.Tensor, torch.Tensor, torch.Tensor
]:  # fmt: skip
    """Hidden states, a head's weight and targets."""
    torch.manual_seed(0)
    hidden = (scale * torch.randn(tokens, WIDTH)).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH).to(dtype)
    return hidden, weight, torch.randint(VOCABULARY, (tokens,))


def plain(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, softcap: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = hidden @ weight.t()
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    hits = (logits.argmax(1) == targets).sum()
    return functional.cross_entropy(logits, targets, reduction="sum"), hits


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("tokens", [0, 3, 11])
def test_the_head_is_cross_entropy(tokens: int, softcap: float | None) -> None:
    hidden, weight, targets = drawn(tokens)
    with torch.no_grad():
        targets[: tokens // 2] = (hidden @ weight.t()).argmax(1)[: tokens // 2]
    loss, hits = head.cross_entropy(hidden, weight, targets, softcap)
    (gradient,) = torch.autograd.grad(loss * 3, hidden)
    expected, right = plain(hidden, weight, targets, softcap)
    (expected_gradient,) = torch.autograd.grad(expected * 3, hidden)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert int(hits) == int(right) >= tokens // 2
    assert torch.autograd.gradcheck(
        lambda given: head.cross_entropy(given, weight, targets, softcap)[0], (hidden,)
    )


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_the_head_weighs_tokens(softcap: float | None) -> None:
    hidden, weight, targets = drawn(11)
    with torch.no_grad():
        targets[:5] = (hidden @ weight.t()).argmax(1)[:5]
    weights = torch.linspace(0.1, 1, 11)
    loss, hits = head.cross_entropy(hidden, weight, targets, softcap, weights)
    (gradient,) = torch.autograd.grad(loss * 3, hidden)
    each = [plain(hidden[n : n + 1], weight, targets[n : n + 1], softcap) for n in range(11)]
    expected = sum(share * one[0] for share, one in zip(weights, each, strict=True))
    (expected_gradient,) = torch.autograd.grad(expected * 3, hidden)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert float(hits) == pytest.approx(
        float(weights @ torch.stack([one[1].float() for one in each]))
    )
    ones = head.cross_entropy(hidden, weight, targets, softcap, torch.ones(11))
    without = head.cross_entropy(hidden, weight, targets, softcap)
    assert [value.item() for value in ones] == [value.item() for value in without]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("softcap", [None, 30.0])
def test_the_head_holds_where_exponentials_overflow_and_where_it_is_sure(
    softcap: float | None,
) -> None:
    """In float32, logits of some hundred; the gradient of a token that is nearly right is small."""
    hidden, weight, targets = drawn(11, torch.float32, scale=40.0)
    with torch.no_grad():
        targets[:5] = (hidden @ weight.t()).argmax(1)[:5]
    loss, _ = head.cross_entropy(hidden, weight, targets, softcap)
    (gradient,) = torch.autograd.grad(loss, hidden)
    exact = hidden.detach().double().requires_grad_()
    expected, _ = plain(exact, weight.double(), targets, softcap)
    (expected_gradient,) = torch.autograd.grad(expected, exact)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("small_tiles")
def test_the_head_in_16_bits_is_near_that_in_32() -> None:
    hidden, weight, targets = drawn(11, torch.bfloat16)
    loss, _ = head.cross_entropy(hidden, weight, targets, None)
    (gradient,) = torch.autograd.grad(loss, hidden)
    wide = hidden.detach().float().requires_grad_()
    expected, _ = plain(wide, weight.float(), targets, None)
    (expected_gradient,) = torch.autograd.grad(expected, wide)
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=5e-3)
    error = (gradient.float() - expected_gradient).norm() / expected_gradient.norm()
    assert float(error) < 2e-2


def test_a_logit_that_is_no_number_gives_a_loss_that_is_none() -> None:
    hidden, weight, targets = drawn(3)
    weight[7] = torch.nan
    assert torch.isnan(head.cross_entropy(hidden, weight, targets, None)[0])


def test_lora_in_one_operation_has_right_gradients() -> None:
    torch.manual_seed(0)
    shapes = {"given": (2, 3, 5), "weight": (7, 5), "down": (2, 5), "up": (7, 2)}
    given, weight, down, up = (torch.randn(s, dtype=torch.float64) for s in shapes.values())
    for trained in (given, down, up):
        trained.requires_grad_()
    made = linear.lora_linear(given, weight, down, up, 0.5)
    torch.testing.assert_close(made, given @ weight.t() + 0.5 * given @ down.t() @ up.t())
    assert torch.autograd.gradcheck(
        lambda x, a, b: linear.lora_linear(x, weight, a, b, 0.5), (given, down, up)
    )


def adapted(folder: Path, dtype: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A model with PEFT's layers and a copy with the engine's; every factor of LoRA is filled."""
    theirs = lora.attach(tiny.loaded(folder, dtype=dtype).model, Adapter(r=4, lora_alpha=8), 0)
    torch.manual_seed(1)
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    ours = deepcopy(theirs.train())
    assert use_fused_lora(ours)
    return theirs, ours


def assert_same_gradients(ours: torch.nn.Module, theirs: torch.nn.Module, limit: float) -> None:
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            expected = theirs.get_parameter(name).grad
            assert expected is not None
            assert parameter.grad is not None
            assert parameter.grad.dtype is torch.float32
            assert _relative(parameter.grad, expected) < limit, name


def test_a_model_computes_what_pefts_layers_do(gemma_folder: Callable[[str], Path]) -> None:
    """Output and every gradient, of the model that shares keys and has per-layer embeddings."""
    theirs, ours = adapted(gemma_folder("embedded"), "float32")
    ids = torch.tensor([[5, 9, 33, 7, 12, 41, 8]])
    expected, found = (model(input_ids=ids, use_cache=False).logits for model in (theirs, ours))
    for logits in (expected, found):
        logits.square().mean().backward()
    assert _relative(found, expected) < 1e-5
    assert_same_gradients(ours, theirs, 1e-3)


def test_a_layer_in_16_bits_computes_what_pefts_does_under_autocast(
    gemma_folder: Callable[[str], Path],
) -> None:
    place = "base_model.model.model.layers.0.self_attn.o_proj"
    theirs, ours = (
        model.get_submodule(place) for model in adapted(gemma_folder("gemma3"), "bfloat16")
    )
    given = torch.randn(3, 64, dtype=torch.bfloat16)
    inputs = [given.clone().requires_grad_() for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        expected = theirs(inputs[0])
    found = ours(inputs[1])
    for made in (expected, found):
        made.float().square().mean().backward()
    assert found.dtype is torch.bfloat16
    assert _relative(found, expected) < 1e-2
    assert _relative(inputs[1].grad, inputs[0].grad) < 1e-2
    assert_same_gradients(ours, theirs, 2e-2)


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.float() - expected.float()).norm() / expected.float().norm()).item()


@pytest.mark.parametrize(
    ("quantization", "adapter"),
    [
        ("nf4", Adapter(r=2, lora_alpha=4)),
        ("none", Adapter(r=2, lora_alpha=4, lora_dropout=0.1)),
    ],
)
def test_other_adapters_stay_pefts(
    quantization: str, adapter: Adapter, gemma_folder: Callable[[str], Path]
) -> None:
    model = lora.attach(tiny.loaded(gemma_folder("gemma3"), quantization).model, adapter, 0)
    assert not use_fused_lora(model)
    assert not any(isinstance(module, FusedLoraLinear) for module in model.modules())


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize(
    "adapter",
    [Adapter(), Adapter(method="dora"), Adapter(lora_dropout=0.1), Adapter(target_experts=True)],
    ids=["lora", "dora", "dropout", "experts"],
)
def test_the_forecast_knows_whose_layers_are_trained(
    adapter: Adapter, quantization: str, gemma_folder: Callable[[str], Path]
) -> None:
    if adapter.target_experts and quantization != "none":
        pytest.skip("refused by recipes")
    shape = StepShape(
        model="",
        device="cpu",
        method=adapter.method,
        lora_dropout=adapter.lora_dropout,
        adapts_experts=adapter.target_experts,
        quantization=quantization,
    )
    model = lora.attach(tiny.loaded(gemma_folder("gemma4_moe"), quantization).model, adapter, 0)
    assert use_fused_lora(model) is shape.has_fused_lora


@pytest.mark.parametrize(
    ("wanted", "has_bf16", "expected"),
    [
        ("auto", True, ("bfloat16", "Card computes in bfloat16")),
        (
            "auto",
            False,
            ("float32", "Card has no bfloat16 arithmetic, and Gemma overflows in float16"),
        ),
        ("float16", True, ("float16", "asked for by the recipe")),
        ("float32", True, ("float32", "asked for by the recipe")),
    ],
)
def test_the_type_that_a_model_computes_in(
    wanted: str, has_bf16: bool, expected: tuple[str, str]
) -> None:
    profile = Profile("card", "Card", "cuda", 16.0, 0.8, has_bf16)
    assert kernel_choice.dtype_and_reason(wanted, profile) == expected


def test_the_base_answers_and_the_adapter_is_saved_as_before(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = lora.attach(tiny.loaded(gemma_folder("gemma3")).model, Adapter(r=2, lora_alpha=4), 0)
    ids = torch.tensor([[5, 9, 33]])
    model.save_pretrained(tmp_path / "before")
    with torch.no_grad(), model.disable_adapter():
        base = model(input_ids=ids).logits
    assert use_fused_lora(model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.1)
    with torch.no_grad(), model.train().disable_adapter():
        assert torch.equal(model(input_ids=ids).logits, base)
        model.eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    model.save_pretrained(tmp_path / "after")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        saved = [(tmp_path / when / name).read_bytes() for when in ("before", "after")]
        assert saved[0] == saved[1]


def test_training_in_16_bits_is_as_near_to_float32_as_under_autocast(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the same rounded weights: neither way's gradients are the truth."""
    rounded = tiny.loaded(EMBEDDED_WEIGHTS, dtype="bfloat16")
    rounded.model.save_pretrained(tmp_path)
    rounded.tokenizer.save_pretrained(tmp_path)
    truth = gradients(tmp_path, "float32")
    ours = gradients(tmp_path, "bfloat16")
    monkeypatch.setattr(kernel_choice, "has_own_head", lambda device: False)
    autocast = gradients(tmp_path, "bfloat16")
    assert 0 < _off(ours, truth) < 1.2 * _off(autocast, truth)


def gradients(folder: Path, dtype: str) -> torch.Tensor:
    """All of one step's, in a row."""
    kept = tiny.Gradients()
    gemma = tiny.loaded(folder, dtype=dtype)
    tiny.trainer(gemma, kept, per_device_train_batch_size=8).train()
    return torch.cat([gradient.flatten() for gradient in kept.gradients.values()])


def _off(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).norm() / truth.norm())
