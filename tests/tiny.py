"""Runs of a few steps on tiny Gemmas, in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.data.batches import TokenSequence, alone
from engine.data.encoding.tokens import Tokens
from engine.doctor import specimens
from engine.doctor.trial import ADAPTER as ADAPTER
from engine.doctor.trial import RecordedStep, Trial
from engine.hardware.profiles import Profile
from engine.model.load import Loaded, load
from engine.recipe.schema import Model
from engine.train.loop import Hook

CPU = Profile("cpu", "CPU", "cpu", 16.0, 0.8, False)
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


def rows(gemma: Loaded, questions: Sequence[tuple[str, str]] = QUESTIONS) -> list[Tokens]:
    """The questions above as the model's tokens; their answers differ in length."""
    return specimens.rows(gemma, questions)


Gradients = RecordedStep


def trainer(
    gemma: Loaded,
    *hooks: Hook,
    sequences: Sequence[TokenSequence] | None = None,
    **settings: Any,
) -> Trial:
    """A run on the rows above, of one step where nothing else is said."""
    return Trial(gemma, sequences or [alone(row) for row in rows(gemma)], *hooks, **settings)
