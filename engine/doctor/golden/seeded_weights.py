"""Weights that are the same on every machine, whatever draws random numbers there.

Neither torch nor numpy promises that a seed gives the same numbers in another version. So each
number is computed from its place: the place is mixed by SplitMix64 (Steele, Lea and Flood, "Fast
Splittable Pseudorandom Number Generators", 2014) and its upper 24 bits become a float32 exactly.
They have the size at which each mechanism of a Gemma shows in its output, as in a trained model;
what transformers starts from is so small that most bugs would hardly be seen.
"""

import math
import zlib

import numpy as np
import torch

from engine.gemma.lora_targets import PER_LAYER_TABLE, TOKEN_TABLE

_LOUDNESS = 3.0
"""Of token embeddings once they are scaled, and so of the logits."""
_SCALES = ("layer_scalar", "router.scale", "per_expert_scale", "std_scale")
_BOUNDS = {"_min": -1.5, "_max": 1.5}
"""Of what goes into a projection of a tower and comes out, where these are clipped."""


def uniform(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers in [-1, 1) that depend on `name` alone: float32 of that shape."""
    start = zlib.crc32(name.encode()) << 32
    places = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(start)
    mixed = places * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    upper = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(40)
    return torch.from_numpy((upper.astype(np.float32) / 2**23 - 1).reshape(shape))


def signs(name: str, count: int) -> torch.Tensor:
    """As many ones with signs, float64."""
    return torch.sign(uniform(name, (count,)) + 2**-25).double()


@torch.no_grad()
def fill(model: torch.nn.Module, norm: float) -> None:
    """Give a model such weights; `norm` is what its norms' weights lie around.

    That is 0 for Gemma 3, whose norms add one themselves, and 1 for Gemma 4.
    """
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in named.items():
        is_scale = name.endswith(_SCALES)
        if name.endswith(tuple(_BOUNDS)):
            tensor.fill_(_BOUNDS[name[-4:]])
        elif isinstance(tensor, torch.nn.Parameter) or is_scale or name.endswith("std_bias"):
            tensor.copy_(_weights(name, tuple(tensor.shape), 1.0 if is_scale else norm))


def _weights(name: str, shape: tuple[int, ...], centre: float) -> torch.Tensor:
    numbers = uniform(name, shape)
    if name.endswith(_SCALES):
        return centre + 0.2 * numbers
    if len(shape) < 2:
        return (centre if "norm" in name else 0.0) + 0.4 * numbers
    deviation = 1 / math.sqrt(math.prod(shape[1:]) if len(shape) != 3 else shape[-1])
    if name.endswith(f"{TOKEN_TABLE}.weight"):
        deviation *= _LOUDNESS
    if name.endswith(f"{PER_LAYER_TABLE}.weight"):
        deviation *= 2.0  # each row holds several layers' embeddings
    return numbers * (math.sqrt(3) * deviation)
