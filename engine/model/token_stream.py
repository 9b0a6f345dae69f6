"""One answer, token by token, so that two can be made at once and any can be stopped."""

import time

import torch

from engine.data.conversation import Conversation, Turn
from engine.data.template import prompt_ids
from engine.model.adapter_switch import AdapterSwitch
from engine.model.detokenizer import IncrementalDetokenizer
from engine.model.generate import end_ids
from engine.model.token_sampler import chooser
from engine.sessions.playground import Asked


class TokenStream:
    """What one side says to one talk; `step` makes a token."""

    def __init__(self, asked: Asked, adapted: AdapterSwitch) -> None:
        self.asked = asked
        self.reason = ""
        """Why it is over; empty while it goes on."""
        self.tokens = 0
        self.seconds = 0.0
        """Time spent here, that of the other side left out."""
        self._adapted = adapted
        self._prompt = _ids(asked, adapted)
        self._given, self._cache = self._prompt, None
        self._ends = end_ids(adapted.model, adapted.tokenizer, adapted.template)
        self._choose = chooser(asked.settings, adapted.model.device)
        self._spelling = IncrementalDetokenizer(adapted.tokenizer)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the talk, up to where the answer begins."""
        return len(self._prompt)

    def step(self) -> str:
        """Make one token; the text that it completes."""
        began = time.monotonic()
        token = self._choose(self._scores())
        self.seconds += time.monotonic() - began
        self._given = [token]
        if token in self._ends:
            return self.end("stop")
        self.tokens += 1
        text = self._spelling.add(token)
        is_full = self.tokens >= self.asked.settings.max_new_tokens
        return text + self.end("length") if is_full else text

    def end(self, reason: str) -> str:
        """End it; the text that was kept back."""
        self.reason, self._cache = reason, None
        return self._spelling.rest()

    def _scores(self) -> torch.Tensor:
        model = self._adapted.model
        given = torch.tensor([self._given], device=model.device)
        with torch.no_grad(), self._adapted.side(self.asked.side):
            told = model(
                input_ids=given, past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
        self._cache = told.past_key_values
        scores: torch.Tensor = told.logits[0, -1]
        return scores


def _ids(asked: Asked, adapted: AdapterSwitch) -> list[int]:
    talk: Conversation = tuple(Turn(role, content) for role, content in asked.messages)
    return prompt_ids(adapted.tokenizer, adapted.template, talk)
