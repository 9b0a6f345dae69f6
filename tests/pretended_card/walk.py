"""Two steps of every kind of recipe on the CPU, on the pretended card, and on one of two cards.

It prints JSON lines: `python -m tests.pretended_card.walk`, with this folder on PYTHONPATH.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from engine.data.batches import TokenSequence, alone, apart, pack
from engine.data.images.image_tokenizer import ImageTokenizer, sight
from engine.data.prepare import prepare
from engine.doctor import specimens, tiny_models
from engine.doctor.golden import seeing_models as seers
from engine.doctor.trial import difference
from engine.hardware.profiles import Profile
from engine.model.load import Loaded, load
from engine.paths import EMBEDDED_WEIGHTS
from engine.recipe.schema import Adapter, Data, Model, Source
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState
from tests import tiny
from tests.architectures import BUILDERS

CPU = replace(tiny.CPU, has_bf16=True)
CARD = replace(CPU, name="card", title="the pretended card", device="cuda", has_flash=True)
STEPS = {"max_steps": 2, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}
TINY: dict[str, Any] = {**tiny_models.BUILDERS, **BUILDERS}
WIDE = Adapter(r=800, lora_alpha=800, target_modules=("q_proj",))
"""Its tensors have more numbers than those that a paged optimizer leaves on the card."""


@dataclass(frozen=True)
class Case:
    """A kind of recipe."""

    name: str
    kind: str = "embedded"
    choices: dict[str, Any] = field(default_factory=dict)
    """Of the model."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of training."""
    is_packed: bool = False
    has_images: bool = False
    capability: tuple[int, int] = (8, 6)


def _case(name: str, kind: str = "embedded", **settings: Any) -> Case:
    return Case(name, kind, settings=settings)


BF16 = {"dtype": "bfloat16"}
NF4 = {"quantization": "nf4"}
ALL_EXPERTS = Adapter(r=4, lora_alpha=8, target_experts=True)
CASES = (
    _case("padded"),
    _case("accumulated", per_device_train_batch_size=1, gradient_accumulation_steps=8),
    _case("checkpointed", gradient_checkpointing=True),
    Case("packed", is_packed=True),
    _case("8 bits", optim="adamw_8bit"),
    _case("paged", optim="paged_adamw_8bit", adapter=WIDE),
    _case("DoRA", adapter=Adapter(r=4, lora_alpha=8, method="dora")),
    Case("NF4", choices=NF4),
    Case("bfloat16", choices=BF16),
    Case("host tables", choices={"host_tables": True}),
    _case("padded", "gemma3"),
    Case("NF4, bfloat16", "gemma3", choices={**NF4, **BF16}),
    _case("padded", "gemma4_moe"),
    Case("NF4", "gemma4_moe", choices=NF4),
    Case("NF4, checkpointed", "gemma4_moe", NF4, {"gradient_checkpointing": True}),
    Case("NF4, bfloat16, Hopper", "gemma4_moe", {**NF4, **BF16}, capability=(9, 0)),
    _case("adapted experts", "gemma4_moe", adapter=ALL_EXPERTS),
    Case("host tables", "gemma4_multimodal", choices={"host_tables": True}),
    _case("padded", "gemma4_large"),
    _case("padded", "gemma4_unified"),
    Case("images", "seer of gemma3", has_images=True),
    Case("images", "seer of gemma4", has_images=True),
)


class _SecondStep(Hook):
    """Counts what the card does in the second step."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Begin, or take the count."""
        self.counts = torch.ops.pretended.counts()
        torch.ops.pretended.forget_counts()


@cache
def _folder(kind: str, staging: Path) -> Path:
    if kind == "embedded":
        return EMBEDDED_WEIGHTS
    if kind.startswith("seer of "):
        return seers.build(kind.removeprefix("seer of "), staging / kind)
    built: Path = TINY[kind](staging / kind)
    return built


def _sequences(case: Case, gemma: Loaded, folder: Path) -> Sequence[TokenSequence]:
    if not case.has_images:
        rows = tiny.rows(gemma)
        return pack(rows, 100) if case.is_packed else [alone(row) for row in rows]
    staging = folder.parent / "photos"
    staging.mkdir(exist_ok=True)
    Image.new("RGB", (120, 60), (200, 30, 0)).save(staging / "wide.jpg")
    records = [_talk("<image>\nWho?", "She.", images=["wide.jpg"]), _talk("Hello!", "Hello.")]
    path = staging / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    data = Data(sources=(Source(path=str(path)),))
    template = specimens.template_of(gemma)
    images = _sight(gemma, folder)
    prepared = prepare(data, gemma.tokenizer, template, staging / "cache", sight=images)
    return apart(prepared.rows)


def _talk(question: str, answer: str, **images: list[str]) -> dict[str, Any]:
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": said, **images}


def _sight(gemma: Loaded, folder: Path) -> ImageTokenizer | None:
    return sight(Model(path=str(folder)), gemma.model.config, gemma.tokenizer)


def _train(case: Case, folder: Path, profile: Profile) -> tuple[tiny.Gradients, dict[str, int]]:
    """Gradients and losses of two steps, and what the card did in the second."""
    choice = Model(path=str(folder), **{"dtype": "float32", **case.choices})
    gemma = load(choice, profile, has_towers=case.has_images)
    steps, counted = tiny.Gradients(), _SecondStep()
    settings = {"per_device_train_batch_size": 8, **STEPS, **case.settings}
    trial = tiny.trainer(
        gemma, steps, counted, sequences=_sequences(case, gemma, folder),
        images=_sight(gemma, folder) if case.has_images else None, **settings,
    )  # fmt: skip
    torch.ops.pretended.forget_counts()
    trial.train()
    if profile is CARD:
        devices = {str(parameter.device) for parameter in trial.model.parameters()}
        devices |= {str(gradient.device) for gradient in steps.gradients.values()}
        assert devices == {"cuda:0"}, devices
    steps.gradients = {name: gradient.cpu() for name, gradient in steps.gradients.items()}
    return steps, counted.counts


def _on_cpu(case: Case) -> Case:
    """The case that has the same losses in one batch; those of many cases are the same."""
    choices = {name: choice for name, choice in case.choices.items() if name != "host_tables"}
    settings = {name: case.settings[name] for name in ("optim", "adapter") if name in case.settings}
    return Case("on the CPU", case.kind, choices, settings, has_images=case.has_images)


def main(staging: Path) -> None:
    """Walk through every case."""
    known: dict[str, tiny.Gradients] = {}
    for case in CASES:
        folder = _folder(case.kind, staging)
        torch.cuda.get_device_capability = lambda device=None, case=case: case.capability
        like = _on_cpu(case)
        cpu = known.get(repr(like)) or _train(like, folder, CPU)[0]
        known[repr(like)] = cpu
        for cards in (1, 2):
            torch.cuda.device_count = lambda cards=cards: cards
            card, counts = _train(case, folder, CARD)
            record = {
                "kind": case.kind,
                "case": case.name,
                "cards": cards,
                "losses": card.losses,
                "losses_of_cpu": cpu.losses,
                "difference": difference(cpu, card),
                "counts": counts,
            }
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(made))
