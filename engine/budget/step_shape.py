"""One optimizer step, as far as its memory depends on it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from engine.budget import micro_batch
from engine.budget.library_kernels import NF4_BLOCK
from engine.gemma.lora_targets import ATTENTION, MLP, Targets
from engine.hardware import kernel_choice
from engine.hardware.gpu import Device
from engine.hardware.kernel_choice import Dtype
from engine.hardware.profiles import Profile
from engine.recipe.schema import Recipe

DETERMINISTIC_WORKSPACE, DETERMINISTIC_WORKSPACE_BYTES = ":4096:8", 8 * 4096 * 1024
"""What cuBLAS needs to give the same bits again: 8 buffers of 4096 KiB for each handle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """One micro-batch and the optimizer step after it, on one device."""

    model: str
    """A variant of `engine/gemma/gemma.toml`, its hub id, a config.json's folder, or "embedded"."""
    dtype: Dtype = "bfloat16"
    quantization: Literal["none", "nf4"] = "none"
    double_quantization: bool = True
    """Whether the scales of 4-bit blocks are quantised again."""
    expert_block_size: int = 0
    """Weights per scale of experts held in NF4; 0 leaves experts as they are."""
    method: Literal["lora", "dora"] = "lora"
    r: int = 16
    lora_dropout: float = 0.0
    target_modules: Targets = ATTENTION + MLP
    adapts_experts: bool = False
    """PEFT can where experts are in 16 bits."""
    batch: int = 1
    """Sequences of a micro-batch."""
    length: int = 512
    """Tokens of each sequence."""
    supervised_tokens: int | None = None
    """Tokens of the micro-batch that carry loss; None is all of them."""
    restarts: bool = False
    """Whether positions restart within a sequence, as with packing and some cards' padding."""
    accumulates: bool = False
    """Whether gradients of earlier micro-batches are held while this one runs."""
    optim: str = "adamw_torch"
    gradient_checkpointing: bool = True
    tables_on_host: bool = False
    """Whether per-layer embeddings stay in host memory."""
    is_text_only: bool = False
    """Whether vision and audio towers are left out of the model."""
    images: int = 0
    """Images in each sequence; their positions are part of its length."""
    generates_tokens: int = 0
    """Tokens that base and adapter answer with while the run goes on."""
    checkpoints: int = 0
    """Kept on disk with the optimizer's state."""
    device: Device = "cuda"
    has_flash: bool = True
    """Whether the card has flash attention: NVIDIA from compute capability 8.0 on."""
    has_efficient_attention: bool = True
    """Whether it has PyTorch's memory-efficient kernel, which keeps no scores either."""
    has_grouped_mm: bool = True
    """Whether the card has one kernel for products in groups: compute capabilities 9 and 10."""
    has_triton: bool = True
    """Whether the card's kernels can be built here, so that TRL's head is used."""
    cublas_workspace_bytes: int = 8_519_680
    """Per cuBLAS handle; PyTorch's default of 4096 KiB x 2 + 16 KiB x 8, 32 MiB from Hopper on."""

    @property
    def width(self) -> int:
        """Bytes of a number in the arithmetic."""
        return 4 if self.dtype == "float32" else 2

    @property
    def is_autocast(self) -> bool:
        """Whether layers run in mixed precision."""
        return self.dtype != "float32" and not self.has_fused_lora

    @property
    def has_own_head(self) -> bool:
        """Whether the loss is computed by the engine's own kernel."""
        return kernel_choice.has_own_head(self.device) or not self.has_triton

    @property
    def has_fused_lora(self) -> bool:
        """Whether adapted layers are the engine's own, which need no autocast."""
        is_fused = kernel_choice.fuses_lora(
            is_dora=self.method == "dora",
            dropout=self.lora_dropout,
            is_quantised=self.quantization != "none",
        )
        is_own = self.has_own_head and kernel_choice.has_own_lora(self.device)
        return is_own and is_fused and not self.adapts_experts

    @property
    def has_fast_groups(self) -> bool:
        """Whether products with 4-bit experts are grouped, which only bfloat16 is."""
        return self.device == "cuda" and self.has_grouped_mm and self.dtype == "bfloat16"

    @property
    def tokens(self) -> int:
        """Positions of one forward pass."""
        return self.batch * self.length

    @property
    def scored_tokens(self) -> int:
        """Tokens that the head projects: the first of a sequence is predicted by nothing."""
        predicted = self.batch * (self.length - 1)
        if self.supervised_tokens is None:
            return predicted
        return min(self.supervised_tokens, predicted)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def from_recipe(
    recipe: Recipe, profile: Profile, *, images: int, tables_on_host: bool
) -> StepShape:
    """A recipe's longest micro-batch on a profile, with so many images in each sequence."""
    model, adapter, training = recipe.model, recipe.adapter, recipe.training
    longest = micro_batch.LONGEST[micro_batch.SFT](recipe)
    dtype = kernel_choice.dtype_and_reason(model.dtype, profile)[0]
    counts_on = kernel_choice.counts_on(profile.device, dtype, has_flash=profile.has_flash)
    return StepShape(
        model=model.path,
        dtype=dtype,
        quantization=model.quantization,
        expert_block_size=NF4_BLOCK if model.quantization == "nf4" else 0,
        method=adapter.method,
        r=adapter.r,
        lora_dropout=adapter.lora_dropout,
        target_modules=adapter.target_modules,
        adapts_experts=adapter.target_experts,
        batch=longest.sequences,
        length=longest.length,
        supervised_tokens=longest.supervised_tokens,
        restarts=longest.is_packed or (longest.sequences > 1 and not counts_on),
        accumulates=training.gradient_accumulation_steps > 1,
        optim=training.optim,
        gradient_checkpointing=training.gradient_checkpointing,
        tables_on_host=tables_on_host,
        is_text_only=not images,
        images=images,
        generates_tokens=recipe.samples.max_new_tokens if recipe.samples.are_any else 0,
        checkpoints=training.save_total_limit if training.save_steps else 0,
        device=profile.device,
        has_flash=profile.has_flash,
        has_efficient_attention=profile.has_efficient_attention,
        has_grouped_mm=profile.has_grouped_mm,
        has_triton=not profile.why_no_triton,
        cublas_workspace_bytes=_workspace_bytes(profile, is_deterministic=training.deterministic),
    )


def _workspace_bytes(profile: Profile, *, is_deterministic: bool) -> int:
    if is_deterministic and profile.cublas_workspace_bytes:
        return DETERMINISTIC_WORKSPACE_BYTES
    return profile.cublas_workspace_bytes
