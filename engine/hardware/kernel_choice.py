"""Which arithmetic a run goes through on a device: its floating type, and whose kernels."""

from typing import Literal

from engine.hardware.profiles import Profile

Dtype = Literal["bfloat16", "float16", "float32"]
TILE_TOKENS, TILE_VOCABULARY = 512, 8192
"""Logits at a time: 16 MiB of float32, which stay in a processor's cache between two operations."""

_WHY = {
    "cpu": "the engine's head and LoRA layers: TRL's kernels need Triton, which a CPU has not",
    "mps": "the engine's head: TRL's kernels need Triton, which Apple's GPUs lack; PEFT's layers: "
    "nobody has measured the engine's on them",
}
_OTHERWISE = "TRL's head and PEFT's layers: nobody has measured the engine's on this kind of device"


def has_own_head(device: str) -> bool:
    """Whether SFT on a device goes through the engine's head; PyTorch's name of its kind.

    Without Triton TRL's works through eight temporaries of a tile of up to 512 MiB.
    """
    return device in {"cpu", "mps"}


def has_own_lora(device: str) -> bool:
    """Whether it goes through the engine's LoRA layers too, where these can take their place."""
    return device == "cpu"


def why(profile: Profile) -> str:
    """The choice, for the plan."""
    if profile.why_no_triton:
        return f"the engine's head: Triton, which TRL's needs, fails here ({profile.why_no_triton})"
    return _WHY.get(profile.device, _OTHERWISE)


def triton_fix(why: str) -> str:
    """What to install where Triton fails with an error."""
    if "No module named 'triton'" in why:
        return "pip install triton, which torch for CUDA brings along on Linux"
    packages = "apt install gcc python3-dev, or dnf install gcc python3-devel"
    return f"Install a C compiler and Python's headers: {packages}"


def fuses_lora(*, is_dora: bool, dropout: float, is_quantised: bool) -> bool:
    """Whether adapted dense layers go through the engine's kernel, where its kernels are used."""
    return not is_dora and not dropout and not is_quantised


def counts_on(device: str, dtype: Dtype, *, has_flash: bool) -> bool:
    """Whether positions of padding go on from the row before it, so that no mask is made of them.

    Padding stands at the right, where causal attention looks from nowhere; a row whose positions
    restart is kept apart by a mask, which flash attention does not take. Without one transformers
    leaves keys shared between heads, and where nothing fused takes those, all scores would be
    spelled out: there a mask is less. On Apple's GPUs they are in any case.
    """
    return device in {"cpu", "mps"} or (device == "cuda" and has_flash and dtype != "float32")


def dtype_and_reason(dtype: Dtype | Literal["auto"], profile: Profile) -> tuple[Dtype, str]:
    """PyTorch's name of the type that a model computes in, and why; `auto` asks the hardware."""
    if dtype != "auto":
        return dtype, "asked for by the recipe"
    if profile.has_bf16:
        return "bfloat16", f"{profile.title} computes in bfloat16"
    return "float32", f"{profile.title} has no bfloat16 arithmetic, and Gemma overflows in float16"
