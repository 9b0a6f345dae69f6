"""Loss and gradients of tiny Gemmas on a GPU against the CPU: `python bench/gpu_parity.py`.

For each architecture, plain, with gradient checkpointing, packed, and accumulated: the largest
relative difference of the loss and of any gradient, in float32. Needs a CUDA device and the test
requirements.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.data.batches import pack  # noqa: E402
from engine.doctor import tiny_models  # noqa: E402
from engine.model.load import load  # noqa: E402
from engine.paths import EMBEDDED_WEIGHTS  # noqa: E402
from engine.recipe.schema import Model  # noqa: E402
from tests import tiny  # noqa: E402

GPU = replace(tiny.CPU, name="cuda", title="CUDA", device="cuda")
CASES: dict[str, dict[str, Any]] = {
    "plain": {"per_device_train_batch_size": 8},
    "checkpointed": {"per_device_train_batch_size": 8, "gradient_checkpointing": True},
    "accumulated": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    "packed": {"per_device_train_batch_size": 8},
}


def step(folder: Path, case: str, profile: Any) -> tiny.Gradients:
    """One optimizer step's loss and gradients."""
    gemma = load(Model(path=str(folder), dtype="float32"), profile)
    sequences = pack(tiny.rows(gemma), 100) if case == "packed" else None
    kept = tiny.Gradients()
    tiny.trainer(gemma, kept, sequences=sequences, **CASES[case]).train()
    return kept


def difference(left: tiny.Gradients, right: tiny.Gradients) -> tuple[float, float]:
    """Relative difference of the losses, and the largest of any gradient by its norm."""
    loss = abs(left.losses[0] - right.losses[0]) / left.losses[0]
    gradients = (
        (gradient.cpu() - right.gradients[name].cpu()).norm() / gradient.cpu().norm()
        for name, gradient in left.gradients.items()
    )
    return loss, float(max(gradients))


def main() -> None:
    """Print a line per architecture and case."""
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here")
    print(torch.cuda.get_device_name())
    torch.backends.cuda.matmul.allow_tf32 = False
    with tempfile.TemporaryDirectory() as made:
        folders = {"embedded": EMBEDDED_WEIGHTS}
        for kind in ("gemma3", "gemma4_moe", "gemma4_multimodal"):
            folders[kind] = tiny_models.BUILDERS[kind](Path(made) / kind)
        for kind, folder in folders.items():
            truth = step(folder, "plain", tiny.CPU)
            for case in CASES:
                loss, gradient = difference(truth, step(folder, case, GPU))
                print(f"{kind:<18} {case:<13} loss {loss:.1e}  gradient {gradient:.1e}")


if __name__ == "__main__":
    main()
