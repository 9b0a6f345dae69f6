"""Which arithmetic a run goes through on a device: its floating type, and whose kernels."""

from typing import Literal

from engine.hardware.profiles import Profile

Dtype = Literal["bfloat16", "float16", "float32"]
TILE_TOKENS, TILE_VOCABULARY = 512, 8192
"""Logits at a time: 16 MiB of float32, which stay in a processor's cache between two operations."""

_WHY = (
    "the engine's head and LoRA layers: TRL's kernels need Triton, which a CPU has not",
    "TRL's head and PEFT's layers: nobody has measured the engine's on this kind of device",
)


def are_used(device: str) -> bool:
    """Whether SFT on a device goes through the engine's kernels; PyTorch's name of its kind."""
    return device == "cpu"


def why(device: str) -> str:
    """The choice, for the plan."""
    return _WHY[0 if are_used(device) else 1]


def fuses_lora(*, is_dora: bool, dropout: float, is_quantised: bool) -> bool:
    """Whether adapted dense layers go through the engine's kernel, where its kernels are used."""
    return not is_dora and not dropout and not is_quantised


def dtype_and_reason(dtype: Dtype | Literal["auto"], profile: Profile) -> tuple[Dtype, str]:
    """PyTorch's name of the type that a model computes in, and why; `auto` asks the hardware."""
    if dtype != "auto":
        return dtype, "asked for by the recipe"
    if profile.has_bf16:
        return "bfloat16", f"{profile.title} computes in bfloat16"
    return "float32", f"{profile.title} has no bfloat16 arithmetic, and Gemma overflows in float16"
