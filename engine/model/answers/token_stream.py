"""One answer, token by token, so that two can be made at once and any can be stopped."""

import time
from typing import Any

import torch

from engine.data.conversation import Conversation, Turn
from engine.data.encoding.template import prompt_ids
from engine.model.adapter_switch import AdapterSwitch
from engine.model.answers.detokenizer import IncrementalDetokenizer
from engine.model.answers.generate import end_ids
from engine.model.answers.token_sampler import token_sampler
from engine.sessions.playground import Prompt


class TokenStream:
    """What base or adapter answers to one conversation; `step` makes a token."""

    def __init__(self, prompt: Prompt, switch: AdapterSwitch) -> None:
        self.prompt = prompt
        self.reason = ""
        """Why it is over; empty while it goes on."""
        self.tokens = 0
        self.seconds = 0.0
        """Time spent here, that of the other side left out."""
        self._switch = switch
        turns: Conversation = tuple(Turn(role, content) for role, content in prompt.messages)
        self._prompt = prompt_ids(switch.tokenizer, switch.template, turns)
        self._input, self._cache = self._prompt, None
        self._ends = end_ids(switch.model, switch.tokenizer, switch.template)
        self._sample = token_sampler(prompt.settings, switch.model.device)
        self._detokenizer = IncrementalDetokenizer(switch.tokenizer)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the conversation, up to where the answer begins."""
        return len(self._prompt)

    def step(self) -> str:
        """Make one token; gives the text that it completes."""
        began = time.monotonic()
        token = self._sample(self._logits())
        self.seconds += time.monotonic() - began
        self._input = [token]
        if token in self._ends:
            return self.end("stop")
        self.tokens += 1
        text = self._detokenizer.add(token)
        is_full = self.tokens >= self.prompt.settings.max_new_tokens
        return text + self.end("length") if is_full else text

    def end(self, reason: str) -> str:
        """End it; gives the text of tokens that no step has given."""
        self.reason, self._cache = reason, None
        return self._detokenizer.rest()

    def _logits(self) -> torch.Tensor:
        """Those of the next token: (vocabulary,) in the model's type."""
        model = self._switch.model
        ids = torch.tensor([self._input], device=model.device)
        with torch.no_grad(), self._switch.use(self.prompt.side):
            outputs: Any = model(
                input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
        self._cache = outputs.past_key_values
        logits: torch.Tensor = outputs.logits[0, -1]
        return logits
