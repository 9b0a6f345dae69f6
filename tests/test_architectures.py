"""Every architecture is trained, whole and in 4 bits, to losses that are written down."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tiny

LOSSES: dict[tuple[str, str], list[float]] = {
    ("embedded", "none"): [9.55661, 5.74122, 6.87382],
    ("embedded", "nf4"): [9.54879, 5.65063, 6.86838],
    ("gemma3", "none"): [8.33685, 8.35173, 8.20811],
    ("gemma3", "nf4"): [8.32877, 8.35331, 8.17736],
    ("gemma3_multimodal", "none"): [8.27681, 8.3387, 8.18923],
    ("gemma3_multimodal", "nf4"): [8.28856, 8.32878, 8.17823],
    ("gemma4_multimodal", "none"): [8.34029, 8.36174, 8.20268],
    ("gemma4_multimodal", "nf4"): [8.34667, 8.34963, 8.21188],
    ("gemma4_unified", "none"): [8.35288, 8.31745, 8.23033],
    ("gemma4_unified", "nf4"): [8.33503, 8.29282, 8.24132],
    ("gemma4_large", "none"): [8.32036, 8.3468, 8.22721],
    ("gemma4_large", "nf4"): [8.32573, 8.33061, 8.25489],
    ("gemma4_moe", "none"): [8.35871, 8.34099, 8.24533],
    ("gemma4_moe", "nf4"): [8.35418, 8.33497, 8.23786],
}
"""Of three steps from fixed seeds, the third in a second epoch; by shape and quantisation."""


@pytest.mark.parametrize(("kind", "quantization"), LOSSES, ids=str)
def test_its_losses_are_those_written_down(
    kind: str, quantization: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    gemma, kept = tiny.loaded(gemma_folder(kind), quantization), tiny.Gradients()
    settings = {"learning_rate": 1e-2, "gradient_checkpointing": True, "max_steps": 3}
    tiny.trainer(gemma, kept, per_device_train_batch_size=4, **settings).train()
    assert kept.losses == pytest.approx(LOSSES[kind, quantization], rel=5e-4)
    assert all(gradient.abs().sum() > 0 for gradient in kept.gradients.values())
