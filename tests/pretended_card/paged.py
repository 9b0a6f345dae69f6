"""A run with paged moments that is interrupted and goes on, on the pretended card."""

import json
import tempfile
from pathlib import Path

import torch

from engine.doctor.golden.known_step import _Interruption
from engine.model.load import load
from engine.paths import EMBEDDED_WEIGHTS
from engine.recipe.schema import Model
from engine.run.rundir import RunDir
from tests import tiny
from tests.pretended_card.walk import CARD, STEPS, WIDE


def trial(*hooks: object) -> tiny.Trial:
    """Of two steps."""
    gemma = load(Model(path=str(EMBEDDED_WEIGHTS), dtype="float32"), CARD)
    settings = {"per_device_train_batch_size": 8, "optim": "paged_adamw_8bit", **STEPS}
    return tiny.trainer(gemma, *hooks, adapter=WIDE, **settings)


def main(folder: Path) -> None:
    """Print the last losses of both, and how many paged tensors each has."""
    whole, resumed = tiny.Gradients(), tiny.Gradients()
    first = trial(whole)
    first.train()
    run = RunDir(folder)
    trial(_Interruption(run, 1)).train()
    second = trial(resumed)
    second.train(run.checkpoint(1))
    paged = [
        sum(getattr(moments["state1"], "is_paged", False) for moments in _moments(one))
        for one in (first, second)
    ]
    print(json.dumps({"paged": paged, "losses": [whole.losses[-1], resumed.losses[-1]]}))


def _moments(one: tiny.Trial) -> list[dict[str, torch.Tensor]]:
    return [*one.state.optimizer.optimizer.state.values()]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(made))
