"""Runs of a few steps on tiny Gemmas, in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from engine.data.batches import TokenSequence, alone
from engine.data.conversation import Turn
from engine.data.image_tokenizer import ImageTokenizer
from engine.data.template import template
from engine.data.tokens import Tokens, tokenize
from engine.gemma.config import dialect_of
from engine.hardware.profiles import Profile
from engine.model import lora
from engine.model.load import Loaded, load
from engine.recipe.schema import Adapter, Data, Model, Source, Training
from engine.train import sft
from engine.train.loss_guards import Guard
from engine.train.token_counts import Tally

CPU = Profile("cpu", "CPU", "cpu", 16.0, 0.8, False)
ADAPTER = Adapter(r=4, lora_alpha=8)
QUESTIONS = (
    ("What is two plus three?", "Five."),
    ("Name a colour.", "Red is a colour that many people like a great deal."),
    ("Sort: pear, apple, fig.", "apple, fig, pear"),
    ("Who are you?", "A small model. I answer short questions as well as I can, every day."),
    ("Spell cat.", "c a t"),
    ("Hello!", "Hello! How can I help you today?"),
    ("What is the capital of Japan?", "Tokyo."),
    ("Say nothing much.", "Very well, then I shall say this and that, and then stop talking."),
)


def loaded(
    folder: Path, quantization: str = "none", *, has_towers: bool = False, **choices: Any
) -> Loaded:
    """A tiny Gemma, in float32 where nothing else is chosen."""
    chosen = {"dtype": "float32", "quantization": quantization, **choices}
    return load(Model(path=str(folder), **chosen), CPU, has_towers=has_towers)


def rows(gemma: Loaded) -> list[Tokens]:
    """The questions above as the model's tokens; their answers differ in length."""
    turns = [(Turn("user", asked), Turn("assistant", said)) for asked, said in QUESTIONS]
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    return tokenize(gemma.tokenizer, chosen, turns, "assistant", 128)


class Gradients(TrainerCallback):
    """Keeps the losses, and the gradients of the last step before the optimizer takes them."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Copy the gradients."""
        self.gradients = {
            name: parameter.grad.clone()
            for name, parameter in kwargs["model"].named_parameters()
            if parameter.grad is not None
        }

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the loss."""
        if "loss" in kwargs["logs"]:
            self.losses.append(kwargs["logs"]["loss"])


def trainer(
    gemma: Loaded,
    staging: Path,
    callback: TrainerCallback,
    sequences: Sequence[TokenSequence] | None = None,
    sight: ImageTokenizer | None = None,
    adapter: Adapter = ADAPTER,
    on_save: Any = lambda *_: None,
    guard: Guard | None = None,
    **settings: Any,
) -> sft.TokenWeightedTrainer:
    """A trainer on the rows above; LoRA starts with both factors filled, so all gradients flow."""
    model = lora.attach(gemma.model, adapter, 0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    training = Training(
        **{"max_steps": 1, "max_grad_norm": 1e9, "gradient_checkpointing": False, **settings}
    )
    data = Data(sources=(Source(path="rows.jsonl"),))
    config = sft.arguments(training, data, gemma, staging)
    given = sequences or [alone(row) for row in rows(gemma)]
    ratio = training.loraplus_lr_ratio
    return sft.trainer(model, gemma, given, config, callback, Tally(), on_save, sight, ratio, guard)
