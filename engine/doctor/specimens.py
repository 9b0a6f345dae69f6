"""Tiny Gemmas of every architecture, for the doctor to try the install on."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.data.batches import TokenSequence, alone
from engine.data.conversation import Conversation, Turn
from engine.data.encoding.rendering import Template
from engine.data.encoding.template import PROBE, template
from engine.data.encoding.tokenizer import tokenizer
from engine.data.encoding.tokens import Tokens, tokenize
from engine.doctor import tiny_models
from engine.doctor.golden import seeing_models
from engine.gemma.config import dialect_of
from engine.gemma.shapes import EMBEDDED, Dialect
from engine.hardware import profiles
from engine.hardware.profiles import Profile
from engine.model.load import Loaded, load
from engine.recipe.schema import Model

KINDS = ("embedded", "gemma3", "gemma4_moe", "gemma4_multimodal")
SEEING = "seeing_"
"""How those are called here that have a vision tower and an image processor."""
SHARING = ("embedded", "gemma4_multimodal")
"""Those whose last layers take keys and values from earlier ones."""
TABLES = ("embedded", "gemma4_multimodal")
"""Those with per-layer embeddings."""
DIALECTS = tuple(Dialect)
QUESTIONS = (
    ("What is two plus three?", "Five."),
    ("Sort: pear, apple, fig.", "apple, fig, pear"),
    ("Who are you?", "A small model. I answer short questions as well as I can, every day."),
    ("Spell cat.", "c a t"),
)
"""Their answers differ in length, which a wrong mean over micro-batches shows by."""
TALK: Conversation = (*PROBE[:-1], Turn("assistant", "A fig \N{CHESTNUT}"))
"""Its last word is a character without a token of its own, so that it comes in single bytes."""


class Specimens:
    """Models and tokenizers in a folder of their own, each built when it is first asked for."""

    def __init__(self, folder: Path, *, has_own_head: bool, profile: Profile | None = None) -> None:
        self.folder = folder
        self._has_own_head = has_own_head
        self._profile = profile or profiles.profile("cpu")

    def choice(self, kind: str) -> Model:
        """A tiny Gemma as a recipe names it, in float32."""
        if kind == "embedded":
            return Model(path=EMBEDDED, dtype="float32")
        folder = self.folder / kind
        if folder.exists():
            pass
        elif kind.startswith(SEEING):
            seeing_models.build(kind.removeprefix(SEEING), folder, is_golden=True)
        else:
            tiny_models.BUILDERS[kind](folder, is_golden=True)
        return Model(path=str(folder), dtype="float32")

    def gemma(self, kind: str, *, has_towers: bool = False, **choices: Any) -> Loaded:
        """A tiny Gemma, loaded anew as a run loads it, under more choices of a recipe."""
        choice = self.choice(kind).model_copy(update=choices)
        loaded = load(choice, self._profile, has_towers=has_towers)
        return replace(loaded, has_own_head=self._has_own_head)

    def tokenizer(self, dialect: str) -> Any:
        """A tokenizer that has the turns of a dialect."""
        return self._gemma3 if dialect == Dialect.GEMMA3 else self._gemma4

    @cached_property
    def _gemma3(self) -> Any:
        return tiny_models.gemma3_tokenizer()

    @cached_property
    def _gemma4(self) -> Any:
        return tokenizer(Model(path=EMBEDDED))


def template_of(gemma: Loaded) -> Template:
    """The template of a model's dialect."""
    return template(dialect_of(gemma.model.config.to_dict()))


def rows(gemma: Loaded, pairs: Sequence[tuple[str, str]] = QUESTIONS) -> list[Tokens]:
    """Questions and their answers as a model's tokens, of which the answers carry loss."""
    turns: list[Conversation] = [
        (Turn("user", question), Turn("assistant", text)) for question, text in pairs
    ]
    return tokenize(gemma.tokenizer, template_of(gemma), turns, "last", 128)


def sequences(gemma: Loaded) -> list[TokenSequence]:
    """The same, each a sequence of its own."""
    return [alone(row) for row in rows(gemma)]
