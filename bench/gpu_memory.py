"""Forecasts against measured memory on a CUDA card: `python bench/gpu_memory.py [CASE...]`.

Builds each case's real shapes with random weights (nothing is downloaded), takes three optimizer
steps, and writes simulation, ledger and `torch.cuda.max_memory_allocated/reserved`, with card and
versions, to bench/results. Every case has a process of its own. It has not been run on a GPU yet.
"""

import dataclasses
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from engine.budget.ledger import persistent  # noqa: E402
from engine.budget.ledger.step_peak import peak_of_step  # noqa: E402
from engine.budget.step_shape import StepShape  # noqa: E402
from engine.gemma import catalog  # noqa: E402
from engine.gemma.lora_targets import ATTENTION, MLP  # noqa: E402
from engine.model.patches.supervised_only import score_supervised_only  # noqa: E402
from engine.units import GIB  # noqa: E402
from tools.simulator import build, optimizer, report  # noqa: E402
from tools.simulator.configuration import configuration, source  # noqa: E402
from tools.simulator.versions import versions  # noqa: E402

ALL = ATTENTION + MLP
CASES = {
    "270m": StepShape(
        model="gemma-3-270m", target_modules=ALL, length=1024, batch=4, restarts=True
    ),
    "270m-whole": StepShape(
        model="gemma-3-270m", target_modules=ALL, length=512, gradient_checkpointing=False
    ),
    "1b": StepShape(model="gemma-3-1b", target_modules=ALL, length=2048),
    "1b-8bit": StepShape(model="gemma-3-1b", target_modules=ALL, length=1024, optim="adamw_8bit"),
    "4b": StepShape(model="gemma-3-4b", target_modules=ALL, length=1024, batch=2, restarts=True),
    "1b-dora": StepShape(model="gemma-3-1b", target_modules=ALL, length=512, method="dora"),
    "e2b": StepShape(model="gemma-4-e2b", target_modules=ALL, length=1024),
}


def measured(case: StepShape) -> dict[str, float]:
    """Most memory of three real steps."""
    score_supervised_only()
    device = torch.device("cuda")
    model = build.skeleton(configuration(source(case.model)), case).to_empty(device=device)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    model.get_base_model().tie_weights()
    model.train()
    if case.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    taught = [parameter for parameter in model.parameters() if parameter.requires_grad]
    taken = optimizer.made(taught, case)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        step_on_card(model, case, device).backward()
        torch.nn.utils.clip_grad_norm_(taught, 1.0)
        taken.step()
        taken.zero_grad(set_to_none=True)
        gc.collect()
    return {
        "allocated_gib": torch.cuda.max_memory_allocated() / GIB,
        "reserved_gib": torch.cuda.max_memory_reserved() / GIB,
    }


def step_on_card(model: Any, case: StepShape, device: torch.device) -> torch.Tensor:
    """The loss of one micro-batch of random tokens."""
    ids = torch.randint(5, 1000, (case.batch, case.length), device=device)
    positions = torch.arange(case.length, device=device).repeat(case.batch, 1)
    if case.restarts:
        positions[:, case.length // 2 :] -= case.length // 2
    with torch.autocast("cuda", getattr(torch, case.dtype)):
        outputs = model(
            input_ids=ids, labels=ids, position_ids=positions, use_cache=False, fused_lm_head=True
        )
    return -outputs.log_probs.mean()


def compare(name: str) -> None:
    """Print one case's forecast and measurement as a line of JSON."""
    case = CASES[name]
    forecast = report.answer(configuration(source(case.model)), case, whole_depth=True)
    shape = catalog.variant_of(case.model)
    ledger = peak_of_step(shape, case).size_bytes + sum(persistent.on_device(shape, case).values())
    record = {
        "case": name,
        **dataclasses.asdict(case),
        "forecast": {
            "allocated_gib": forecast.allocated_gib,
            "reserved_gib": forecast.reserved_gib,
        },
        "ledger": {"allocated_gib": ledger / GIB},
        "measured": measured(case),
    }
    print(json.dumps(record))


def main(names: list[str]) -> int:
    """Compare every case, or those named; 1 where there is no card or a case failed."""
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured")
        return 1
    if len(names) == 2 and names[0] == "--one":
        compare(names[1])
        return 0
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    card = torch.cuda.get_device_name()
    file = results / f"gpu_memory-{card.replace(' ', '-').lower()}.json"
    records, failed = [], 0
    for name in names or CASES:
        told = subprocess.run(
            [sys.executable, __file__, "--one", name], capture_output=True, text=True, check=False
        )
        if told.returncode:
            failed += 1
            print(f"{name}: {told.stderr.strip().splitlines()[-1]}")
            continue
        records.append(json.loads(told.stdout.splitlines()[-1]))
        print(name, records[-1]["forecast"], records[-1]["measured"], flush=True)
    file.write_text(json.dumps({"card": card, "versions": versions(), "cases": records}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
