"""Ways through 4-bit experts, forward and backward: `python bench/speed/experts.py [cuda]`.

The engine's beside transformers' eager, batched and grouped ones over the same NF4 weights under
bitsandbytes' parametrization, which spells all of them out. Medians of 5 rounds, all ways by turns;
then how far their gradients are apart, and what is kept for the backward pass. A way that would
need more than 4 GiB is left out. The CUDA path was not run on a GPU by us yet.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bitsandbytes.nn.parametrize import replace_parameter_4bit
from transformers import Gemma4TextConfig
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextExperts

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.model import nf4  # noqa: E402
from engine.model.experts import QuantisedExperts  # noqa: E402

ROUNDS, MOST_BYTES = 5, 4 << 30
STACKS = ("gate_up_proj", "down_proj")
OTHERS = ("eager", "batched_mm", "grouped_mm")


class Shape(NamedTuple):
    """A mixture, and how many tokens go through it."""

    experts: int
    per_token: int
    width: int
    inner: int
    tokens: int


SMALL = [
    Shape(8, 2, 64, 32, 256),
    Shape(64, 4, 256, 128, 512),
    Shape(32, 4, 1024, 512, 1),
    Shape(32, 4, 1024, 512, 64),
    Shape(32, 4, 1024, 512, 512),
    Shape(16, 8, 2816, 704, 128),
]
REAL = [Shape(128, 8, 2816, 704, tokens) for tokens in (1, 8, 512, 8 * 512)]


def dense(shape: Shape, device: str, dtype: torch.dtype) -> Gemma4TextExperts:
    """Random experts in whole numbers, in transformers' class."""
    config = Gemma4TextConfig(
        hidden_size=shape.width,
        num_experts=shape.experts,
        top_k_experts=shape.per_token,
        moe_intermediate_size=shape.inner,
    )
    with torch.device(device):
        experts = Gemma4TextExperts(config).to(dtype)
    for parameter in experts.parameters():
        parameter.data.normal_(std=0.02)
        parameter.requires_grad_(False)
    return experts


def ways(shape: Shape, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Each way as a module; the others share one set of weights."""
    other = dense(shape, device, dtype)
    ours = QuantisedExperts(other)
    for name in STACKS:
        packed = nf4.quantised(getattr(other, name).data)
        ours._parameters[name] = packed
    for name in STACKS:
        replace_parameter_4bit(other, name, compress_statistics=True, quant_type="nf4")
    modules: dict[str, Any] = {"engine": ours}
    for way in OTHERS:
        one = shape.width * shape.inner * 3 * dtype.itemsize
        if way != "batched_mm" or shape.tokens * shape.per_token * one < MOST_BYTES:
            modules[way] = (other, way)
    return modules


def run(module: Any, inputs: torch.Tensor, routing: tuple[torch.Tensor, torch.Tensor]) -> Any:
    """One pass forward and backward; gives the gradient of what goes in."""
    if isinstance(module, tuple):
        module, way = module
        module.config._experts_implementation = way
    inputs = inputs.detach().requires_grad_()
    module(inputs, *routing).float().square().sum().backward()
    return inputs.grad


def seconds(device: str, *arguments: Any) -> float:
    """How long one pass takes."""
    started = time.perf_counter()
    run(*arguments)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def saved_mib(module: Any, *arguments: Any) -> float:
    """Bytes that the backward pass needs, each storage once."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(module, *arguments)
    return sum(storages.values()) / 2**20


def measure(shape: Shape, device: str, dtype: torch.dtype) -> None:
    """Print a line per way."""
    torch.manual_seed(0)
    inputs = torch.randn(shape.tokens, shape.width, device=device, dtype=dtype)
    scores = torch.rand(shape.tokens, shape.experts, device=device)
    weights, indices = torch.topk(scores, shape.per_token)
    routing = (indices, weights / weights.sum(-1, keepdim=True))
    modules = ways(shape, device, dtype)
    times: dict[str, list[float]] = {way: [] for way in modules}
    for module in modules.values():
        run(module, inputs, routing)
    for _ in range(ROUNDS):
        for way, module in modules.items():
            times[way].append(seconds(device, module, inputs, routing))
    truth = run(modules["grouped_mm"], inputs, routing).float()
    hit = len(indices.unique())
    print(f"\n{shape} {hit} experts with tokens, {dtype}")
    for way, module in modules.items():
        apart = float((run(module, inputs, routing).float() - truth).norm() / truth.norm())
        print(
            f"  {way:<11} {1000 * statistics.median(times[way]):9.2f} ms"
            f"  kept {saved_mib(module, inputs, routing):8.1f} MiB  gradient {apart:.1e} apart",
            flush=True,
        )


def main() -> None:
    """Every shape of a device."""
    if "cuda" in sys.argv[1:]:
        print(torch.cuda.get_device_name())
        for shape in REAL:
            measure(shape, "cuda", torch.bfloat16)
        return
    print(f"CPU, {torch.get_num_threads()} threads")
    for shape in SMALL:
        measure(shape, "cpu", torch.float32)


if __name__ == "__main__":
    main()
