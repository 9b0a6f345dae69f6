"""Mistakes that a recipe has on some devices only."""

from engine.hardware.profiles import Profile
from engine.problems import Problem
from engine.recipe.schema import Recipe


def with_profile(recipe: Recipe, profile: Profile) -> list[Problem]:
    """What of a recipe can't be computed on a profile, and what can instead.

    bitsandbytes 0.50 has no 8-bit optimizers for Apple's GPUs, and pages with CUDA's memory; its
    4-bit arithmetic spells every weight out in plain PyTorch there (backends/mps/ops.py).
    """
    if profile.device != "mps":
        return []
    mistakes = []
    optim, quantization = recipe.training.optim, recipe.model.quantization
    if "8bit" in optim or "paged" in optim:
        reason = f"bitsandbytes has no such optimizer for {profile.title}"
        fix = "Choose adamw_torch: the state of an adapter is small beside the weights"
        mistakes.append(Problem("training.optim", optim, reason, fix))
    if quantization != "none":
        reason = f"bitsandbytes has no 4-bit kernels for {profile.title} that are tried here"
        fix = 'Set model.quantization = "none"; where it does not fit, choose a smaller Gemma'
        mistakes.append(Problem("model.quantization", quantization, reason, fix))
    return mistakes
