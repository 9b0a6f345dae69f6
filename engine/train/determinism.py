"""What a run computes with: whether its bits repeat, in which precision, from which seeds."""

import os

import torch

from engine.budget.step_shape import DETERMINISTIC_WORKSPACE
from engine.hardware import card_memory, card_probe
from engine.recipe.schema import Recipe

_VECTOR_UNITS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "neon", "sve", "bf16")


def settle(recipe: Recipe) -> dict[str, str]:
    """Set it for the rest of the process, before anything is computed; gives it with reasons.

    TF32 rounds the factors of float32 products to 10 bits. It stays off: who computes in float32
    has no bfloat16 or wants more than it, and products in bfloat16 know no TF32.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    algorithms = "any algorithm, the fastest"
    if recipe.training.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = DETERMINISTIC_WORKSPACE
        torch.use_deterministic_algorithms(True)
        algorithms = "deterministic algorithms only: asked for by the recipe"
    return {
        "algorithms": algorithms,
        "TF32": "off: float32 is whole where it is used",
        "seeds": _seeds(recipe),
    }


def last_bits(device: str) -> str:
    """What the last bits of a device's sums depend on, in words: all that kernels are chosen by."""
    if device == "cuda":
        card_memory.used_before()
        card = f"{torch.cuda.get_device_name()} with driver {card_probe.driver()}"
        return f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()} on {card}"
    can = torch.cpu.get_capabilities()
    units = " ".join(name for name in _VECTOR_UNITS if can.get(name))
    processor = f"{can.get('cpu_name', 'a CPU')}, {units or 'no vector units known'}"
    return f"torch {torch.__version__} on {torch.get_num_threads()} threads of {processor}"


def _seeds(recipe: Recipe) -> str:
    drawn = ", ".join(f"{source.label} {source.seed}" for source in recipe.data.sources)
    return f"adapter and dropout {recipe.training.seed}, order {recipe.data.seed}, rows of {drawn}"
