"""Where the engine's own kernels take the place of TRL's and PEFT's, and why."""

TILE_TOKENS, TILE_VOCABULARY = 512, 8192
"""Logits at a time: 16 MiB of float32, which stay in a processor's cache between two operations."""

_WHY = (
    "the engine's head and LoRA layers: TRL's kernels need Triton, which a CPU has not",
    "TRL's head and PEFT's layers: nobody has measured the engine's on this kind of device",
)


def are_used(device: str) -> bool:
    """Whether SFT on a device goes through them; `device` is PyTorch's name of its kind."""
    return device == "cpu"


def why(device: str) -> str:
    """The choice, for the plan."""
    return _WHY[0 if are_used(device) else 1]
